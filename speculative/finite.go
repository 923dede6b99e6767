package speculative

import "math"

// Finite says whether a model's logits can be chosen from: none is NaN or plus infinity, and not all are
// minus infinity, which some models give to tokens that they never say. A model that breaks this is damaged.
func Finite(logits []float32) bool {
	var a, b, c, d float32 // 0 as long as all is finite; four do not wait for each other
	l := logits
	for ; len(l) >= 4; l = l[4:] {
		a += l[0] * 0
		b += l[1] * 0
		c += l[2] * 0
		d += l[3] * 0
	}
	for _, x := range l {
		a += x * 0
	}
	if a+b+c+d == 0 {
		return true
	}
	some := false
	for _, x := range logits {
		v := float64(x)
		if math.IsNaN(v) || math.IsInf(v, 1) {
			return false
		}
		some = some || !math.IsInf(v, -1)
	}
	return some
}

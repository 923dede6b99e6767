package speculative

import (
	"math"
	"testing"
)

func TestFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	at := func(i int, v float32) []float32 {
		l := make([]float32, 11)
		for j := range l {
			l[j] = math.MaxFloat32
		}
		l[i] = v
		return l
	}
	for i := range 11 {
		if !Finite(at(i, -inf)) || !Finite(at(i, -math.MaxFloat32)) {
			t.Error("a fair row is not", i)
		}
		if Finite(at(i, nan)) || Finite(at(i, inf)) {
			t.Error("it was not seen", i)
		}
		both := at(i, -inf)
		both[(i+3)%11] = nan
		if Finite(both) {
			t.Error("NaN beside minus infinity", i)
		}
	}
	if Finite([]float32{-inf, -inf}) || !Finite([]float32{-inf, 0, -inf, -inf, -inf}) {
		t.Error("minus infinity")
	}
}

func BenchmarkFinite(b *testing.B) {
	l := make([]float32, 152064)
	for b.Loop() {
		if !Finite(l) {
			b.Fatal()
		}
	}
}

package reference

import "math"

// dotPortable is dot in plain Go: eight sums, so that the additions do not wait for each other.
func dotPortable(a, b []float32) float32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	b = b[:len(a)]
	for len(a) >= 8 {
		x, y := a[:8:8], b[:8:8]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		s4 += x[4] * y[4]
		s5 += x[5] * y[5]
		s6 += x[6] * y[6]
		s7 += x[7] * y[7]
		a, b = a[8:], b[8:]
	}
	for i, x := range a {
		s0 += x * b[i]
	}
	return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
}

// fuses reports whether the compiler contracts a*b+c into a fused multiply-add on this
// architecture, which changes last bits; part of Info.Numerics.
//
//go:noinline
func fuses(a, b, c float32) bool { return a*b+c != float32(a*b)+c }

// numericsSet is instructionSet plus the compiler's choice.
func numericsSet() string {
	s := instructionSet()
	if e := float32(1 + 0x1p-12); fuses(e, e, -float32(e*e)) {
		s += "+fma"
	}
	return s
}

// rmsNorm writes x / rms(x) * weight to out (Zhang, Sennrich, arXiv 1910.07467).
func rmsNorm(out, x, weight []float32, eps float32) {
	scale := float32(1 / math.Sqrt(float64(dot(x, x)/float32(len(x))+eps)))
	out, weight = out[:len(x)], weight[:len(x)]
	for i, v := range x {
		out[i] = v * scale * weight[i]
	}
}

// swiGLU writes silu(gate) * up to gate (Shazeer, arXiv 2002.05202). tmp is scratch of the same length.
func swiGLU(gate, up, tmp []float32) {
	up, tmp = up[:len(gate)], tmp[:len(gate)]
	for i, g := range gate {
		tmp[i] = -g
	}
	expAll(tmp)
	for i, g := range gate {
		gate[i] = g / (1 + tmp[i]) * up[i]
	}
}

// softmax turns scores into weights that sum to 1.
func softmax(s []float32) {
	top := s[0]
	for _, v := range s {
		if v > top {
			top = v
		}
	}
	for i := range s {
		s[i] -= top
	}
	expAll(s)
	inv := 1 / sum(s)
	for i := range s {
		s[i] *= inv
	}
}

func sum(x []float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += x[0]
		s1 += x[1]
		s2 += x[2]
		s3 += x[3]
	}
	for _, v := range x {
		s0 += v
	}
	return (s0 + s1) + (s2 + s3)
}

// rope rotates adjacent pairs of every head of x in place (Su et al., arXiv 2104.09864, with the
// pairing of GGUF's llama): sin and cos hold one entry per pair, the rest of a head stays.
func rope(x []float32, headDim int, sin, cos []float32) {
	for ; len(x) >= headDim; x = x[headDim:] {
		h := x[:headDim]
		for i, s := range sin {
			c, a, b := cos[i], h[2*i], h[2*i+1]
			h[2*i], h[2*i+1] = a*c-b*s, a*s+b*c
		}
	}
}

// addTo adds y to x.
func addTo(x, y []float32) {
	y = y[:len(x)]
	for i, v := range y {
		x[i] += v
	}
}

func dotsPortable(out, m, x []float32) {
	for i := range out {
		out[i] = dot(m[i*len(x):][:len(x)], x)
	}
}

func weighPortable(out, w, m []float32) {
	for _, f := range w {
		row := m[:len(out)]
		for i, v := range row {
			out[i] += float32(f * v)
		}
		m = m[len(out):]
	}
}

func expPortable(x []float32) {
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v)))
	}
}

package reference

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func random(rng *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * scale)
	}
	return x
}

// The vector kernels against float64, and against each other where they promise the same bits.
func TestKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 1; n < 200; n++ {
		rows := 1 + n%19
		m, x, w := random(rng, rows*n, 1), random(rng, n, 1), random(rng, rows, 1)
		out := make([]float32, rows)
		dots(out, m, x)
		for i := range out {
			want := 0.0
			for j := range x {
				want += float64(m[i*n+j]) * float64(x[j])
			}
			if math.Abs(float64(out[i])-want) > 1e-4 || out[i] != dot(m[i*n:][:n], x) {
				t.Fatalf("%d numbers: dots %g, dot %g, want %g", n, out[i], dot(m[i*n:][:n], x), want)
			}
		}
		got := random(rng, n, 1)
		want := wide(got)
		weigh(got, w, m, make([]float32, n))
		for j := range got {
			for i := range w {
				want[j] += float64(w[i]) * float64(m[i*n+j])
			}
			if math.Abs(float64(got[j])-want[j]) > 1e-4 {
				t.Fatalf("%d rows of %d: weigh %g, want %g", rows, n, got[j], want[j])
			}
		}
	}
}

func TestExponential(t *testing.T) {
	inf := float32(math.Inf(1))
	for n := 1; n < 40; n++ {
		for _, scale := range []float64{1, 20, 60, 1000} {
			x := random(rand.New(rand.NewPCG(uint64(n), 3)), n, scale)
			got := append([]float32(nil), x...)
			expAll(got)
			for i, v := range x {
				want := math.Exp(float64(v))
				if d := math.Abs(float64(got[i]) - want); d > 1e-5*want+1e-37 && (want < 1e38 || got[i] < 1e38) {
					t.Fatalf("exp(%g), number %d of %d, is %g, want %g", v, i, n, got[i], want)
				}
			}
		}
	}
	x := []float32{88.5, inf, 0, -88, -100, -103, -inf, 89, 1}
	expAll(x)
	for i, want := range []string{"big", "big", "1.0e+00", "0.0e+00", "0.0e+00", "0.0e+00", "0.0e+00", "big", "2.7e+00"} {
		got := fmt.Sprintf("%.1e", x[i])
		switch {
		case x[i] < 1e-37 && x[i] >= 0:
			got = "0.0e+00"
		case x[i] > 1e38:
			got = "big"
		}
		if got != want {
			t.Errorf("number %d is %g, want %s", i, x[i], want)
		}
	}
}

// Far apart scores must not turn into anything but weights between 0 and 1.
func TestSoftmax(t *testing.T) {
	for n := 1; n < 70; n++ {
		s := random(rand.New(rand.NewPCG(uint64(n), 5)), n, 60)
		want, total := make([]float64, n), 0.0
		top := s[0]
		for _, v := range s {
			top = max(top, v)
		}
		for i, v := range s {
			want[i] = math.Exp(float64(v) - float64(top))
			total += want[i]
		}
		softmax(s)
		for i := range s {
			if math.Abs(float64(s[i])-want[i]/total) > 1e-5 {
				t.Fatalf("weight %d of %d is %g, want %g", i, n, s[i], want[i]/total)
			}
		}
	}
}

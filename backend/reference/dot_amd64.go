package reference

import (
	"github.com/viterin/vek"
	"github.com/viterin/vek/vek32"
)

// accelerated: vek has AVX2 and FMA code for this processor and system. It is constant for the
// life of the process, so that one build gives one result.
var accelerated = vek.Info().Acceleration

// instructionSet names what dot runs on, for Info.Numerics.
func instructionSet() string {
	if accelerated {
		return "amd64+avx2"
	}
	return "amd64"
}

// dot returns the inner product of two vectors of one length. Its order of summation depends on
// the length alone. Whole blocks of 32 go to vek, whose scalar tail is slower than dotPortable.
func dot(a, b []float32) float32 {
	n := len(a) &^ 31
	if !accelerated || n == 0 {
		return dotPortable(a, b)
	}
	s := vek32.Dot(a[:n], b[:n])
	if n < len(a) {
		s += dotPortable(a[n:], b[n:])
	}
	return s
}

// dots writes the inner products of x with the rows of m, which lie one after the other, to out.
// Each is what dot returns for it.
func dots(out, m, x []float32) {
	if accelerated && len(x)&31 == 0 && len(out)*len(x) < vekParallel {
		vek32.MatMul_Into(out, m, x, len(x)) // the loop of vek32.Dot, called once
		return
	}
	dotsPortable(out, m, x)
}

// vekParallel is the work from which vek starts goroutines of its own.
const vekParallel = 100_000

// weigh adds to out the sum of w[i] times row i of m. The order of summation depends on the sizes
// alone. tmp is scratch of out's length.
func weigh(out, w, m, tmp []float32) {
	if accelerated && len(out)&31 == 0 {
		addTo(out, vek32.MatMul_Into(tmp[:len(out)], w, m, len(w)))
		return
	}
	weighPortable(out, w, m)
}

// expAll replaces every number by its exponential. The last bits depend on a number's place.
func expAll(x []float32) {
	if !accelerated {
		expPortable(x)
		return
	}
	// Where the result would be subnormal or infinite, vek's code (v0.4.3) returns nonsense.
	vek32.MaximumNumber_Inplace(x, -87)
	vek32.MinimumNumber_Inplace(x, 88)
	vek32.Exp_Inplace(x)
}

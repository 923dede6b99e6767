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

//go:build !amd64

package reference

import "runtime"

// instructionSet names what dot runs on, for Info.Numerics.
func instructionSet() string { return runtime.GOARCH }

// dot returns the inner product of two vectors of one length. Its order of summation depends on
// the length alone.
func dot(a, b []float32) float32 { return dotPortable(a, b) }

//go:build !amd64

package reference

import "runtime"

// instructionSet names what dot runs on, for Info.Numerics.
func instructionSet() string { return runtime.GOARCH }

// dot returns the inner product of two vectors of one length. Its order of summation depends on
// the length alone.
func dot(a, b []float32) float32 { return dotPortable(a, b) }

// dots writes the inner products of x with the rows of m, which lie one after the other, to out.
// Each is what dot returns for it.
func dots(out, m, x []float32) { dotsPortable(out, m, x) }

// weigh adds to out the sum of w[i] times row i of m; tmp is not used here.
func weigh(out, w, m, _ []float32) { weighPortable(out, w, m) }

// expAll replaces every number by its exponential.
func expAll(x []float32) { expPortable(x) }

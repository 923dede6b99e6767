//go:build !race

package reference

// raceDetector: much arithmetic without goroutines is left out, it would only take long.
const raceDetector = false

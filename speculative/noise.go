package speculative

import "math"

// Noise v1. The Gumbel noise of coupled sampling is a pure function of (seed, choice index,
// position in the target's log, target token id), so that draft and target draw the same noise
// without exchanging it (Daliri, Musco, Suresh, arXiv 2408.07978). testdata/noise_v1.json holds
// the published vectors; other languages implement from this definition:
//
//	mix(x)  = SplitMix64's output function (Steele, Lea, Flood, OOPSLA 2014)
//	key     = mix(mix(seed + 0x9E3779B97F4A7C15) ^ (choice<<32 | position))
//	h       = mix(key + (token+1)*0x9E3779B97F4A7C15)        // SplitMix64 stream of key
//	u       = ((h >> 12) + 0.5) * 2^-52                       // exact in float64, inside (0, 1)
//	noise   = round(-ln(-ln(u)) * 2^20) / 2^20                // half to even
//
// All integers are unsigned, 64 bits wide, and wrap. The rounding hides the last bits in which
// platforms' logarithms differ. Noise lies between -3.6 and 36.8.

const golden = 0x9E3779B97F4A7C15

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xBF58476D1CE4E5B9
	x ^= x >> 27
	x *= 0x94D049BB133111EB
	return x ^ x>>31
}

// noiseKey fixes everything but the token.
type noiseKey uint64

func newNoiseKey(seed uint64, choice uint32, position int) noiseKey {
	return noiseKey(mix(mix(seed+golden) ^ (uint64(choice)<<32 | uint64(uint32(position)))))
}

func (k noiseKey) hash(t Token) uint64 {
	return mix(uint64(k) + (uint64(uint32(t))+1)*golden)
}

func gumbel(h uint64) float64 {
	u := (float64(h>>12) + 0.5) * 0x1p-52
	return math.RoundToEven(-math.Log(-math.Log(u))*0x1p20) * 0x1p-20
}

// Noise returns noise v1 for one token; its unit is that of a logit.
func Noise(seed uint64, choice uint32, position int, t Token) float64 {
	return gumbel(newNoiseKey(seed, choice, position).hash(t))
}

// mayExceed reports whether the noise behind h could be greater than d; it never errs towards no.
// It lets Choose skip most tokens without a logarithm: noise > d needs 1-u < 1-exp(-e^-d) <= e^-d
// <= 2^-i with i = floor(d * log2 e), so the top i bits of h are ones. No u is within 2^-53 of 1.
func mayExceed(h uint64, d float64) bool {
	if !(d > 1) { // NaN too
		return true
	}
	i := math.Floor((d - 0x1p-19) * math.Log2E) // rounding may lift noise by half of 2^-20
	return i < 53 && ^h>>(64-uint(i)) == 0
}

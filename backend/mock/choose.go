package mock

import "github.com/outrider-llm/outrider/speculative"

// A row's state is a 32-bit rolling hash of the whole log up to it, so that one wrong, missing or
// doubled token changes everything after it, and rollback is a shorter slice.

// mix is SplitMix64's output function.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xBF58476D1CE4E5B9
	x ^= x >> 27
	x *= 0x94D049BB133111EB
	return x ^ x>>31
}

func extend(state uint32, t speculative.Token) uint32 {
	return uint32(mix(uint64(state)<<32|uint64(uint32(t))+0x9E3779B9) >> 16)
}

// unit is a number in [0, 1) of the hash.
func unit(h uint64) float64 { return float64(h>>11) * 0x1p-53 }

// endToken is the only one that ends; no choice is it before end_after says so.
const endToken = 0

// other maps a hash to a token that is neither the end token nor not.
func (e *Engine) other(h uint64, not speculative.Token) speculative.Token {
	t := 1 + speculative.Token(h%uint64(e.o.vocab-2))
	if t >= not && not != endToken {
		t++
	}
	return t
}

// choose is the token after a row. The target's choice is a function of (seed, setup, state) alone.
// The engine chooses it with a probability that varies from row to row around "agreement"; its
// confidence is that probability, so it is perfectly calibrated. Where it errs, its second choice is
// the target's with probability "second".
func (e *Engine) choose(s *sequence, state uint32, position int) speculative.Choice {
	h := mix(uint64(state) ^ s.key)
	target := 1 + speculative.Token(h%uint64(e.o.vocab-1))
	if e.o.endAfter > 0 && position-s.promptLength >= e.o.endAfter {
		target = endToken
	}
	draw, spread := mix(h+1), unit(mix(h+2))
	p := e.o.agreement * 2 * spread
	if e.o.agreement > 0.5 {
		p = 1 - (1-e.o.agreement)*2*spread
	}
	told := min(max(p, 0.5), 0.999)
	if t := e.o.table; t != nil {
		p = t[mix(h+2)%uint64(len(t))]
		told = p
	}
	c := speculative.Choice{Token: target, Confidence: float32(told), Second: e.other(mix(h+3), target)}
	if unit(draw) < p {
		return c
	}
	c.Token, c.Second = c.Second, target
	if unit(mix(h+4)) >= e.o.second {
		// Any third token.
		c.Second = e.other(mix(h+5), c.Token)
		if c.Second == target && e.o.vocab > 3 {
			c.Second = endToken
		}
	}
	return c
}

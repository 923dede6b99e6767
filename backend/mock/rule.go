package mock

import (
	"math"

	"github.com/outrider-llm/outrider/speculative"
)

// judge puts a rule over the target's choice. To rejection the target is certain: what is proposed is
// accepted iff it is the choice. To lenient each other token has a made-up fraction of the choice's
// probability, a function of the log and the token.
func (s *sequence) judge(c speculative.Choice, state uint32, proposed []speculative.Proposal) speculative.Choice {
	if s.rule.Kind != speculative.Lenient || s.drafts || s.allowed != nil {
		return c
	}
	for _, x := range proposed {
		if x.Token == c.Token {
			return c
		}
	}
	for _, x := range proposed {
		f := unit(mix(uint64(state)<<32 ^ uint64(uint32(x.Token)) ^ s.key + 6))
		if x.Token != endToken && f >= least(s.rule) {
			return speculative.Choice{Token: x.Token, Confidence: 0.5, Second: c.Token, Lenient: true}
		}
	}
	return c
}

// least is the fraction that a lenient rule asks for.
func least(r speculative.Rule) float64 {
	or := func(v, def float32) float64 {
		if v == 0 {
			v = def
		}
		return float64(v)
	}
	switch r.By {
	case speculative.ByTopK:
		k := r.TopK
		if k == 0 {
			k = speculative.DefaultTopK
		}
		return math.Max(0, 1-float64(k-1)/10) // k-1 of ten others
	case speculative.ByTypical:
		return or(r.Epsilon, speculative.DefaultEpsilon)
	}
	return or(r.Threshold, speculative.DefaultThreshold)
}

package simulate

import (
	"math"

	"github.com/outrider-llm/outrider/bench/trace"
	"github.com/outrider-llm/outrider/speculative"
)

// Token is an id in the synthetic vocabulary.
type Token = speculative.Token

// vocabulary is a size that real models have: it decides how many bytes an id takes on the wire.
const vocabulary = 32000

func mix(a, b uint64) uint64 {
	x := a*0x9E3779B97F4A7C15 + b*0xD1B54A32D192ED03 + 0x632BE59BD9B4E019
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func unit(x uint64) float64 { return float64(x>>11) * 0x1p-53 }

// pair is one session's two models. The target's log is a function of the seed and the position; the
// draft's agreement with it is drawn position by position, so that every strategy meets the same fate.
type pair struct {
	seed   uint64
	m      *Model
	table  []float64 // quantiles of the agreement, nil: the mean everywhere
	oracle bool
	prompt int    // positions before this one are the prompt
	picked []part // of the model's trace
}

// target is the large model's token at a position.
func (p *pair) target(pos int) Token { return Token(mix(p.seed, uint64(pos)<<3) % vocabulary) }

// agreement is the probability that the draft's first choice for a position is the target's.
func (p *pair) agreement(pos int) float64 {
	if p.m.Trace != nil {
		_, c := p.recorded(pos)
		return float64(c)
	}
	if p.table == nil {
		return p.m.Agreement
	}
	return p.table[mix(p.seed, uint64(pos)<<3|1)%uint64(len(p.table))]
}

// hit says whether the draft's first choice, and if not whether its second, is the target's.
func (p *pair) hit(pos int) (first, second bool) {
	if p.m.Trace != nil {
		o, _ := p.recorded(pos)
		return o == trace.Hit, o == trace.Second
	}
	first = unit(mix(p.seed, uint64(pos)<<3|2)) < p.agreement(pos)
	return first, !first && unit(mix(p.seed, uint64(pos)<<3|3)) < p.m.Second
}

// draft is the small model's choice for a position. onPath: what it follows agrees with the target's
// log; otherwise nothing that it says can agree, though it is no less sure of itself.
func (p *pair) draft(pos int, last Token, onPath bool) speculative.Choice {
	truth := p.target(pos)
	wrong := func(n uint64) Token {
		t := Token(mix(mix(p.seed, uint64(last)), uint64(pos)<<3|n) % vocabulary)
		if t == truth {
			t = (t + 1) % vocabulary
		}
		return t
	}
	c := speculative.Choice{Token: wrong(4), Second: wrong(5), Confidence: p.confidence(pos, last, onPath)}
	if c.Second == c.Token {
		c.Second = -1
	}
	first, second := p.hit(pos)
	switch {
	case p.oracle:
		if c.Confidence, c.Second = 0, -1; onPath && (first || second) {
			c.Token, c.Confidence = truth, 1
		}
	case !onPath:
	case first:
		c.Token = truth
	case second:
		c.Second = truth
	}
	return c
}

func (p *pair) confidence(pos int, last Token, onPath bool) float32 {
	a := p.agreement(pos)
	if p.m.Trace != nil {
		if onPath {
			return float32(a)
		}
		return p.elsewhere(mix(mix(p.seed, uint64(last)), uint64(pos)<<3|6))
	}
	if !onPath && p.table != nil {
		a = p.table[mix(mix(p.seed, uint64(last)), uint64(pos)<<3|6)%uint64(len(p.table))]
	}
	switch p.m.Confidence {
	case Constant:
		return 0.75
	case Noisy:
		// A sum of uniforms is normal enough.
		n := -6.0
		for i := range uint64(12) {
			n += unit(mix(mix(p.seed, uint64(last)), uint64(pos)<<7|i<<3|7))
		}
		a = min(max(a, 1e-6), 1-1e-6)
		a = 1 / (1 + math.Exp(-math.Log(a/(1-a))-1.5*n))
	}
	return float32(min(max(a, 0), 1))
}

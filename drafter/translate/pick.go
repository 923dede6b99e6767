package translate

import (
	"math"
	"slices"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// candidate is an alternative of the draft, spelt in the target's tokens.
type candidate struct {
	token    Token
	logprob  float32
	spelling []Token
}

// pick chooses the draft's next token. Its alternatives are weighed by how the target spells them, one
// of its tokens after the other, with the target's own sampler and noise at its own positions: so the
// choice is coupled with the target's.
func (m *Model) pick(s *sequence, r *backend.Result) (entry, bool) {
	start := begins(s.text)
	if len(r.Logprobs) == 0 || len(r.Logprobs[0].Top) == 0 { // an engine that tells its choice only
		c := r.Choices[0]
		e := entry{token: c.Token, confidence: c.Confidence, second: m.w.firstOf(c.Second, start)}
		return e, int(c.Token) < m.draft.Size()
	}
	var group []candidate
	for _, a := range r.Logprobs[0].Top {
		if sp := m.w.spelling(a.Token, start); len(sp) > 0 {
			group = append(group, candidate{a.Token, a.Logprob, sp})
		}
	}
	if len(group) == 0 {
		return entry{}, false
	}
	s.sync()
	if s.logits == nil {
		s.logits = slices.Repeat([]float32{float32(math.Inf(-1))}, m.info.VocabularySize)
	}
	e := entry{confidence: 1, second: nothing}
	for i := 0; ; i++ {
		c := s.weigh(group, i)
		if e.confidence *= c.Confidence; i == 0 {
			e.second = c.Second
		}
		s.sampler.Push(c.Token)
		ended, goOn := split(group, i, c.Token)
		if len(ended) > 0 && (len(goOn) == 0 || mass(ended) >= mass(goOn)) {
			e.token = ended[0].token
			return e, true
		}
		if len(goOn) == 0 {
			return entry{}, false // the sampler had nothing to choose from
		}
		group = goOn
	}
}

// weigh lets the target's sampler choose among the i-th tokens of the spellings.
func (s *sequence) weigh(group []candidate, i int) speculative.Choice {
	for _, a := range group {
		k := a.spelling[i]
		s.logits[k] = logAdd(s.logits[k], a.logprob)
	}
	c := s.sampler.Choose(s.logits)
	for _, a := range group {
		s.logits[a.spelling[i]] = float32(math.Inf(-1))
	}
	return c
}

// split takes those whose i-th token is k: the ones that end with it and the others. Both fall.
func split(group []candidate, i int, k Token) (ended, goOn []candidate) {
	for _, a := range group {
		switch {
		case a.spelling[i] != k:
		case len(a.spelling) == i+1:
			ended = append(ended, a)
		default:
			goOn = append(goOn, a)
		}
	}
	return ended, goOn
}

func mass(group []candidate) float64 {
	sum := 0.0
	for _, a := range group {
		sum += math.Exp(float64(a.logprob))
	}
	return sum
}

func logAdd(a, b float32) float32 {
	if math.IsInf(float64(a), -1) {
		return b
	}
	hi, lo := max(a, b), min(a, b)
	return hi + float32(math.Log1p(math.Exp(float64(lo-hi))))
}

// sync brings the sampler's log to the target's, with what the draft has said beyond it.
func (s *sequence) sync() {
	var ahead []Token
	if p := s.propose(); len(p.tokens) > 0 {
		ahead = p.tokens
	}
	had, n := s.sampler.Log(), 0
	at := func(i int) Token {
		if i < len(s.log) {
			return s.log[i]
		}
		return ahead[i-len(s.log)]
	}
	all := len(s.log) + len(ahead)
	for n < len(had) && n < all && had[n] == at(n) {
		n++
	}
	s.sampler.Truncate(n)
	for ; n < all; n++ {
		s.sampler.Push(at(n))
	}
}

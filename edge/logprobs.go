package edge

import (
	"math"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// leastLogprob stands for everything less probable, minus infinity included: JSON has no such number.
const leastLogprob = -9999

// tell takes the target's log probabilities.
func (t *GeneratedToken) tell(l *speculative.Logprobs) {
	t.told, t.Logprob = true, max(l.Chosen, leastLogprob)
	for _, a := range l.Top {
		t.Top = append(t.Top, TokenLogprob{a.Token, max(a.Logprob, leastLogprob)})
	}
}

func (t *GeneratedToken) logprobs() *outriderv1.Logprobs {
	if !t.told {
		return nil
	}
	m := &outriderv1.Logprobs{Chosen: t.Logprob}
	for _, a := range t.Top {
		m.Tokens, m.Values = append(m.Tokens, uint32(a.ID)), append(m.Values, a.Logprob)
	}
	return m
}

// logprobsFromProto checks what a commit tells.
func logprobsFromProto(in []*outriderv1.Logprobs, tokens int) ([]*speculative.Logprobs, bool) {
	if len(in) == 0 {
		return nil, true
	}
	if len(in) != tokens {
		return nil, false
	}
	out := make([]*speculative.Logprobs, len(in))
	for i, m := range in {
		l := &speculative.Logprobs{Chosen: m.GetChosen()}
		if len(m.GetTokens()) != len(m.GetValues()) || len(m.GetTokens()) > maxLogprobs || !(l.Chosen <= 0) {
			return nil, false
		}
		for j, t := range m.GetTokens() {
			v := m.GetValues()[j]
			if t > math.MaxInt32 || !(v <= 0) {
				return nil, false
			}
			l.Top = append(l.Top, speculative.TokenLogprob{Token: Token(t), Logprob: v})
		}
		out[i] = l
	}
	return out, true
}

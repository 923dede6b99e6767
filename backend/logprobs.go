package backend

import (
	"fmt"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func logprobsToProto(in []speculative.Logprobs) []*outriderv1.Logprobs {
	if len(in) == 0 {
		return nil
	}
	out := make([]*outriderv1.Logprobs, len(in))
	for i, l := range in {
		m := &outriderv1.Logprobs{Chosen: l.Chosen}
		for _, t := range l.Top {
			m.Tokens, m.Values = append(m.Tokens, uint32(t.Token)), append(m.Values, t.Logprob)
		}
		out[i] = m
	}
	return out
}

// logprobsFromProto checks what a plugin told.
func logprobsFromProto(in []*outriderv1.Logprobs, wanted, vocabulary int) ([]speculative.Logprobs, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) != wanted {
		return nil, fmt.Errorf("%w: log probabilities of %d choices instead of %d", errMisbehaves, len(in), wanted)
	}
	out := make([]speculative.Logprobs, len(in))
	for i, m := range in {
		if len(m.GetTokens()) != len(m.GetValues()) || len(m.GetTokens()) > speculative.MaxLogprobs || !(m.GetChosen() <= 1e-3) {
			return nil, fmt.Errorf("%w: %d log probabilities of %d tokens, %g of the choice", errMisbehaves, len(m.GetValues()), len(m.GetTokens()), m.GetChosen())
		}
		out[i].Chosen = min(m.GetChosen(), 0)
		for j, t := range m.GetTokens() {
			v := m.GetValues()[j]
			if uint64(t) >= uint64(vocabulary) || !(v <= 1e-3) {
				return nil, fmt.Errorf("%w: it gives token %d of %d the log probability %g", errMisbehaves, t, vocabulary, v)
			}
			out[i].Top = append(out[i].Top, speculative.TokenLogprob{Token: Token(t), Logprob: min(v, 0)})
		}
	}
	return out, nil
}

package backend

import (
	"fmt"
	"math"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// RuleToProto converts a rule for the wire; the default is nil.
func RuleToProto(r speculative.Rule) *outriderv1.Rule {
	if r.Kind == speculative.RuleDefault {
		return nil
	}
	return &outriderv1.Rule{Kind: outriderv1.RuleKind(r.Kind), By: outriderv1.LenientKind(r.By), Threshold: r.Threshold,
		TopK: uint32(max(0, r.TopK)), Epsilon: r.Epsilon, Delta: r.Delta}
}

// RuleFromProto converts and validates a rule; nil is the default. Errors wrap speculative.ErrRule.
func RuleFromProto(m *outriderv1.Rule) (speculative.Rule, error) {
	r := speculative.Rule{Kind: speculative.RuleKind(byteOf(int32(m.GetKind()))), By: speculative.LenientKind(byteOf(int32(m.GetBy()))),
		Threshold: m.GetThreshold(), TopK: int(min(m.GetTopK(), math.MaxInt32)), Epsilon: m.GetEpsilon(), Delta: m.GetDelta()}
	return r, r.Validate()
}

// byteOf makes an unknown value of an enum one that is unknown in a byte, too.
func byteOf(v int32) uint8 {
	if v < 0 || v > math.MaxUint8 {
		return math.MaxUint8
	}
	return uint8(v)
}

// SparsesToProto converts what tokens were drawn from; all of them point masses is nil.
func SparsesToProto(in []*speculative.Sparse) []*outriderv1.Sparse {
	some := false
	for _, q := range in {
		some = some || q != nil
	}
	if !some {
		return nil
	}
	out := make([]*outriderv1.Sparse, len(in))
	for i, q := range in {
		if out[i] = sparseToProto(q); q == nil {
			out[i] = &outriderv1.Sparse{}
		}
	}
	return out
}

func sparseToProto(q *speculative.Sparse) *outriderv1.Sparse {
	if q == nil {
		return nil
	}
	return &outriderv1.Sparse{Tokens: tokensToProto(q.Tokens[1:]), Weights: q.Weights}
}

// SparsesFromProto converts and checks what tokens are said to be drawn from. Errors wrap
// speculative.ErrProtocol.
func SparsesFromProto(in []*outriderv1.Sparse, tokens []Token, vocabulary int) ([]*speculative.Sparse, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) != len(tokens) {
		return nil, fmt.Errorf("%w: %d distributions for %d tokens", speculative.ErrProtocol, len(in), len(tokens))
	}
	out := make([]*speculative.Sparse, len(in))
	for i, m := range in {
		var err error
		if out[i], err = sparseFromProto(m, tokens[i], vocabulary); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func sparseFromProto(m *outriderv1.Sparse, drawn Token, vocabulary int) (*speculative.Sparse, error) {
	if len(m.GetTokens()) == 0 && len(m.GetWeights()) == 0 {
		return nil, nil
	}
	n := min(len(m.GetTokens()), speculative.MaxSparse) // one more than may be is enough to be refused
	q := &speculative.Sparse{Tokens: make([]Token, 1, n+1), Weights: m.GetWeights()}
	q.Tokens[0] = drawn
	for _, t := range m.GetTokens()[:n] {
		if t > math.MaxInt32 {
			return nil, fmt.Errorf("%w: a distribution holds token %d, the vocabulary has %d", speculative.ErrProtocol, t, vocabulary)
		}
		q.Tokens = append(q.Tokens, Token(t))
	}
	return q, q.Check(drawn, vocabulary)
}

// Judge makes the choice after a segment's row i for an engine that has its logits, which it may
// overwrite; the sampler's log ends with that row. Log probabilities come only where the segment asks.
func Judge(s *speculative.Sampler, seg *Segment, i int, logits []float32) (speculative.Choice, *speculative.Logprobs) {
	proposed := Following(seg, i)
	if seg.Logprobs > 0 {
		c, lp := s.JudgeLogprobs(logits, proposed, seg.Logprobs-1)
		return c, &lp
	}
	return s.Judge(logits, proposed), nil
}

// Following lists the tokens that follow a segment's row i, in order.
func Following(seg *Segment, i int) []speculative.Proposal {
	var out []speculative.Proposal
	add := func(j int) {
		p := speculative.Proposal{Token: seg.Tokens[j]}
		if j < len(seg.Q) {
			p.Q = seg.Q[j]
		}
		out = append(out, p)
	}
	if seg.Parents == nil {
		if i+1 < len(seg.Tokens) {
			add(i + 1)
		}
		return out
	}
	for j := i + 1; j < len(seg.Tokens); j++ {
		if int(seg.Parents[j]) == i {
			add(j)
		}
	}
	return out
}

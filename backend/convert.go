package backend

import (
	"fmt"
	"math"

	"github.com/outrider-llm/outrider/grammar"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// SamplingFromProto converts and validates sampling parameters; nil means greedy. Errors wrap
// speculative.ErrParams.
func SamplingFromProto(m *outriderv1.Sampling) (speculative.Params, error) {
	if m.GetTopK() > math.MaxInt32 {
		return speculative.Params{}, fmt.Errorf("%w: top_k is %d, must be at most %d", speculative.ErrParams, m.GetTopK(), math.MaxInt32)
	}
	p := speculative.Params{
		Temperature: m.GetTemperature(), TopK: int(m.GetTopK()), TopP: m.GetTopP(), MinP: m.GetMinP(),
		RepetitionPenalty: m.GetRepetitionPenalty(), PresencePenalty: m.GetPresencePenalty(),
		FrequencyPenalty: m.GetFrequencyPenalty(), Seed: m.GetSeed(), Choice: m.GetChoice(),
	}
	for t, b := range m.GetLogitBias() {
		if t > math.MaxInt32 {
			return speculative.Params{}, fmt.Errorf("%w: logit_bias of token %d: no such token", speculative.ErrParams, t)
		}
		if p.LogitBias == nil {
			p.LogitBias = make(map[Token]float32, len(m.GetLogitBias()))
		}
		p.LogitBias[Token(t)] = b
	}
	return p, p.Validate()
}

// SamplingToProto converts sampling parameters for the wire.
func SamplingToProto(p speculative.Params) *outriderv1.Sampling {
	m := &outriderv1.Sampling{
		Temperature: p.Temperature, TopK: uint32(p.TopK), TopP: p.TopP, MinP: p.MinP,
		RepetitionPenalty: p.RepetitionPenalty, PresencePenalty: p.PresencePenalty,
		FrequencyPenalty: p.FrequencyPenalty, Seed: p.Seed, Choice: p.Choice,
	}
	for t, b := range p.LogitBias {
		if m.LogitBias == nil {
			m.LogitBias = make(map[uint32]float32, len(p.LogitBias))
		}
		m.LogitBias[uint32(t)] = b
	}
	return m
}

// ConstraintFromProto converts a constraint for the sampler; whether it can be compiled is checked there.
func ConstraintFromProto(m *outriderv1.Constraint) grammar.Constraint {
	return grammar.Constraint{Kind: m.GetKind(), Source: m.GetSource()}
}

// ConstraintToProto converts a constraint for the wire; none is nil.
func ConstraintToProto(c grammar.Constraint) *outriderv1.Constraint {
	if c.Kind == "" {
		return nil
	}
	return &outriderv1.Constraint{Kind: c.Kind, Source: c.Source}
}

package speculative

import (
	"errors"
	"fmt"
	"math"
)

// Token is an id in a vocabulary.
type Token = int32

// Params are the sampling parameters of one request. The zero value is greedy decoding:
// temperature 0, every filter and penalty off.
type Params struct {
	Temperature       float32           // 0: argmax without noise; otherwise logits are divided by it
	TopK              int               // keep the k largest logits; 0: off
	TopP              float32           // keep the smallest set with this probability mass; 0 or 1: off
	MinP              float32           // keep what has at least this fraction of the top probability; 0: off
	RepetitionPenalty float32           // CTRL (arXiv 1909.05858), over prompt and generated; 0 or 1: off
	PresencePenalty   float32           // subtracted once per token that was generated; 0: off
	FrequencyPenalty  float32           // subtracted per generated occurrence; 0: off
	LogitBias         map[Token]float32 // added to logits after penalties
	Seed              uint64            // of the noise
	Choice            uint32            // index among the n choices of one request
}

// ErrParams is wrapped by every error of Params.Validate.
var ErrParams = errors.New("invalid sampling parameters")

// Validate says which parameter is out of range and what the range is.
func (p Params) Validate() error {
	finite := func(name string, v, lo, hi float32) error {
		if math.IsNaN(float64(v)) || v < lo || v > hi {
			return fmt.Errorf("%w: %s is %g, must be between %g and %g", ErrParams, name, v, lo, hi)
		}
		return nil
	}
	if p.TopK < 0 {
		return fmt.Errorf("%w: top_k is %d, must be 0 (off) or more", ErrParams, p.TopK)
	}
	if len(p.LogitBias) > maxBias {
		return fmt.Errorf("%w: logit_bias has %d entries, at most %d are allowed", ErrParams, len(p.LogitBias), maxBias)
	}
	for t, b := range p.LogitBias {
		if t < 0 || math.IsNaN(float64(b)) || b > 1000 || b < -1000 {
			return fmt.Errorf("%w: logit_bias of token %d is %g, must be between -1000 and 1000", ErrParams, t, b)
		}
	}
	return errors.Join(
		finite("temperature", p.Temperature, 0, 100),
		finite("top_p", p.TopP, 0, 1),
		finite("min_p", p.MinP, 0, 1),
		finite("repetition_penalty", p.RepetitionPenalty, 0, 10),
		finite("presence_penalty", p.PresencePenalty, -10, 10),
		finite("frequency_penalty", p.FrequencyPenalty, -10, 10),
	)
}

const maxBias = 1024

func (p Params) penalised() bool {
	return (p.RepetitionPenalty != 0 && p.RepetitionPenalty != 1) || p.PresencePenalty != 0 || p.FrequencyPenalty != 0
}

// Choice is what a model says after one row.
type Choice struct {
	Token Token
	// Confidence is sigmoid(gap) of the two best perturbed scores (at temperature 0 the two best
	// logits): 0.5 when they tie, towards 1 when the choice is clear. A cheap, noise-aware predictor
	// of agreement; calibrate it before use.
	Confidence float32
	// Second is the runner-up, -1 when nothing else survived the filters.
	Second Token
	// Logprobs is what the target thinks of it, for verifiers whose requests ask; nil otherwise.
	Logprobs *Logprobs
	// Q is what a draft under Rejection drew the token from; nil: a point mass.
	Q *Sparse
	// Lenient: a proposal that the strict rule would have refused.
	Lenient bool
}

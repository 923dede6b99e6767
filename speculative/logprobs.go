package speculative

import (
	"math"
	"slices"
)

// TokenLogprob is a token with the natural logarithm of its probability.
type TokenLogprob struct {
	Token   Token
	Logprob float32
}

// Logprobs says how probable a model itself holds a choice and its alternatives: its log softmax before
// penalties, bias, temperature and filters.
type Logprobs struct {
	Chosen float32
	Top    []TokenLogprob // the most probable tokens, falling, ties to the lower id
}

// MaxLogprobs bounds how many tokens a Logprobs may hold.
const MaxLogprobs = 64

// ChooseLogprobs is Choose that also tells the log probabilities of its choice and of the n most
// probable tokens.
func (s *Sampler) ChooseLogprobs(logits []float32, n int) (Choice, Logprobs) {
	return s.tell(logits, n, s.Choose)
}

// JudgeLogprobs is Judge that also tells them.
func (s *Sampler) JudgeLogprobs(logits []float32, proposed []Proposal, n int) (Choice, Logprobs) {
	return s.tell(logits, n, func(l []float32) Choice { return s.Judge(l, proposed) })
}

func (s *Sampler) tell(logits []float32, n int, choose func([]float32) Choice) (Choice, Logprobs) {
	lp := Logprobs{Top: topLogprobs(logits, n)}
	norm := logSumExp(logits)
	for i := range lp.Top {
		lp.Top[i].Logprob = float32(float64(lp.Top[i].Logprob) - norm)
	}
	raw := logits
	if len(s.seen) > 0 || len(s.p.LogitBias) > 0 { // Choose overwrites them
		raw = slices.Clone(logits)
	}
	c := choose(logits)
	lp.Chosen = float32(math.Inf(-1))
	if int(c.Token) < len(raw) {
		lp.Chosen = float32(tame(raw[c.Token]) - norm)
	}
	return c, lp
}

// tame is a logit as Choose takes it.
func tame(l float32) float64 {
	if l != l {
		return math.Inf(-1)
	}
	return float64(min(l, math.MaxFloat32))
}

func logSumExp(logits []float32) float64 {
	top := math.Inf(-1)
	for _, l := range logits {
		top = max(top, tame(l))
	}
	if math.IsInf(top, -1) {
		return 0
	}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(tame(l) - top)
	}
	return top + math.Log(sum)
}

// topLogprobs returns the n largest logits.
func topLogprobs(logits []float32, n int) []TokenLogprob {
	n = min(n, MaxLogprobs, len(logits))
	if n <= 0 {
		return nil
	}
	top := make([]TokenLogprob, 0, n+1)
	for t, l := range logits {
		v := float32(tame(l))
		if math.IsInf(float64(v), -1) || (len(top) == n && v <= top[n-1].Logprob) {
			continue
		}
		i := len(top)
		for i > 0 && top[i-1].Logprob < v {
			i--
		}
		top = slices.Insert(top, i, TokenLogprob{Token(t), v})
		top = top[:min(n, len(top))]
	}
	return top
}

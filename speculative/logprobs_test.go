package speculative

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestChooseLogprobs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		logits := make([]float32, 50)
		for i := range logits {
			logits[i] = float32(rng.NormFloat64() * 4)
		}
		logits[7], logits[9] = float32(math.NaN()), float32(math.Inf(-1))
		if round%2 == 0 {
			logits[20] = logits[21] // a tie
		}
		p := Params{Temperature: 0.8, Seed: uint64(round), RepetitionPenalty: 1.3, LogitBias: map[Token]float32{3: 5}}
		s, plain := NewSampler(p, 1), NewSampler(p, 1)
		for _, k := range []Token{3, 4, 5} {
			s.Push(k)
			plain.Push(k)
		}
		// The definition, spelt out.
		type scored struct {
			t Token
			p float64
		}
		var all []scored
		sum := 0.0
		for i, l := range logits {
			if v := float64(l); !math.IsNaN(v) && !math.IsInf(v, -1) {
				all = append(all, scored{Token(i), v})
				sum += math.Exp(v)
			}
		}
		slices.SortStableFunc(all, func(a, b scored) int {
			if a.p > b.p {
				return -1
			}
			if a.p < b.p {
				return 1
			}
			return 0
		})
		raw := slices.Clone(logits)
		want := plain.Choose(slices.Clone(logits))
		c, lp := s.ChooseLogprobs(logits, 5)
		if c != want {
			t.Fatalf("chose %+v, Choose alone %+v", c, want)
		}
		if got := float64(lp.Chosen); math.Abs(got-(float64(raw[c.Token])-math.Log(sum))) > 1e-4 {
			t.Errorf("chosen: %g", got)
		}
		for i, x := range lp.Top {
			if x.Token != all[i].t || math.Abs(float64(x.Logprob)-(all[i].p-math.Log(sum))) > 1e-4 {
				t.Errorf("alternative %d: %+v, want %+v", i, x, all[i])
			}
		}
	}
	if _, lp := NewSampler(Params{}, 0).ChooseLogprobs([]float32{1, 2}, 1000); len(lp.Top) != 2 {
		t.Errorf("%d of 2 tokens", len(lp.Top))
	}
}

package httpengine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// TestCertainIsTrue: over rows with many ties, whatever is called certain is what the whole vocabulary gives,
// however the server broke the ties when it cut the row.
func TestCertainIsTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	certainly, doubtful := 0, 0
	for i := range 20_000 {
		const vocabulary, top = 40, 8
		whole := make([]float32, vocabulary)
		order := r.Perm(vocabulary)
		var row Row
		for t := range whole {
			whole[t] = -float32(r.IntN(12)) / 4
		}
		for len(row) < top { // the most probable, ties in random order
			best := -1
			for j, t := range order {
				if t >= 0 && (best < 0 || whole[t] > whole[order[best]]) {
					best = j
				}
			}
			row = append(row, speculative.TokenLogprob{Token: backend.Token(order[best]), Logprob: whole[order[best]]})
			order[best] = -1
		}
		p := speculative.Params{TopK: 1 + r.IntN(top), Temperature: float32(r.IntN(3)), Seed: uint64(i), TopP: float32(r.IntN(2)) * 0.8, MinP: float32(r.IntN(2)) * 0.3}
		e := &Engine{o: options{top: top}, info: backend.Info{VocabularySize: vocabulary}}
		row, err := e.known(row)
		if err != nil {
			t.Fatal(err)
		}
		seen := make([]float32, vocabulary)
		for t := range seen {
			seen[t] = float32(math.Inf(-1))
		}
		for _, x := range row {
			seen[x.Token] = x.Logprob
		}
		got := speculative.NewSampler(p, 0).Choose(seen)
		if !certain(p, 0, row, got.Token, vocabulary) {
			doubtful++
			continue
		}
		certainly++
		if want := speculative.NewSampler(p, 0).Choose(whole); got.Token != want.Token {
			t.Fatalf("%+v: %v gives %d, the whole vocabulary %d", p, row, got.Token, want.Token)
		}
	}
	if certainly < 2000 || doubtful < 2000 {
		t.Errorf("%d certain, %d doubtful: the test shows little", certainly, doubtful)
	}
}

func TestKnownRefuses(t *testing.T) {
	e := &Engine{o: options{top: 2}, info: backend.Info{VocabularySize: 10}}
	nan := float32(math.NaN())
	for name, row := range map[string]Row{"NaN": {{Token: 1, Logprob: nan}, {Token: 2}}, "positive": {{Token: 1, Logprob: 2}, {Token: 2}},
		"short": {{Token: 1}}, "padding only": {{Token: 11}, {Token: 12}}, "none": {}} {
		if _, err := e.known(row); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

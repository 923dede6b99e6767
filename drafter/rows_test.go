package drafter

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/outrider-llm/outrider/speculative"
)

type tokens = []speculative.Token

// What Rows plans, a model that obeys can run: each choice is after the text that was asked for. The model here is
// the contract of backend.Segment in its plainest form.
func TestRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Rows
	var rows []tokens // held: per row, the text that it ends
	log, begin, tree := tokens{1}, 0, false
	for round := range 3000 {
		texts := make([]tokens, 1+rng.IntN(5))
		for i := range texts {
			texts[i] = slices.Clone(log)
			for range rng.IntN(6) {
				texts[i] = append(texts[i], speculative.Token(rng.IntN(2)))
			}
		}
		p := r.Plan(texts)
		if tree && p.Keep != nil {
			kept := rows[:begin:begin]
			for _, k := range p.Keep {
				kept = append(kept, rows[begin+int(k)])
			}
			rows = kept
		}
		if p.Start > len(rows) || len(p.Tokens) == 0 {
			t.Fatalf("round %d: %d rows from %d on, %d are held", round, len(p.Tokens), p.Start, len(rows))
		}
		rows, begin, tree = rows[:p.Start:p.Start], p.Start, p.Parents != nil
		for i, x := range p.Tokens {
			up := i - 1
			if p.Parents != nil {
				up = int(p.Parents[i])
			}
			before := tokens{}
			if at := p.Start + up; at >= 0 {
				if up < 0 {
					at = p.Start - 1
				}
				before = rows[at]
			}
			rows = append(rows, append(slices.Clone(before), x))
		}
		for i, text := range texts {
			if got := rows[p.Start+p.At[i]]; !slices.Equal(got, text) {
				t.Fatalf("round %d: the choice is after %v, wanted after %v", round, got, text)
			}
		}
		switch {
		case rng.IntN(50) == 0:
			r.Forget()
			rows = nil
			log = log[:1]
		case rng.IntN(3) == 0: // a commit
			log = slices.Clone(texts[rng.IntN(len(texts))])
		}
	}
}

// Going on where the last pass ended runs one row for each text, and none twice.
func TestRowsAreKept(t *testing.T) {
	var r Rows
	r.Plan([]tokens{{1, 2, 3}})
	if p := r.Plan([]tokens{{1, 2, 3, 4}, {1, 2, 3, 5}}); p.Start != 3 || len(p.Tokens) != 2 || !slices.Equal(p.At, []int{0, 1}) {
		t.Errorf("two branches: %+v", p)
	}
	if p := r.Plan([]tokens{{1, 2, 3, 5, 6}}); p.Start != 4 || len(p.Tokens) != 1 || !slices.Equal(p.Keep, []int32{1}) || p.Parents != nil {
		t.Errorf("the second branch: %+v", p)
	}
	if p := r.Plan([]tokens{{1, 2, 3, 4, 7}}); p.Start != 3 || len(p.Tokens) != 2 {
		t.Errorf("back to the first: %+v", p)
	}
}

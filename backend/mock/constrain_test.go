package mock

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/speculative"
)

// Under a constraint target and draft write JSON, and chains and trees choose alike.
func TestConstraint(t *testing.T) {
	target := load(t, "text", "bytes", "vocab", "300")
	draft := load(t, "text", "bytes", "vocab", "300", "agreement", "0.6")
	ended := 0
	for seed := range uint64(40) {
		setup := &backend.Setup{PromptLength: 3, Params: speculative.Params{Temperature: 1, Seed: seed},
			Constraint: grammar.Constraint{Kind: grammar.JSONSchema, Source: `{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"array","items":{"type":"boolean"},"maxItems":2}},"required":["a","b"],"additionalProperties":false}`}}
		rng := rand.New(rand.NewPCG(seed, 1))
		log := []backend.Token{5, 6, 7}
		var text []byte
		for len(log) < 400 {
			c := scratch(t, target, log, *setup)
			chosen := c[len(c)-1]
			if d := scratch(t, draft, log, *setup); d[len(d)-1].Token == chosen.Token && d[len(d)-1].Second == chosen.Token {
				t.Fatal("first and second are the same")
			}
			// The same row, within a tree.
			n := len(log)
			seg := backend.Segment{Sequence: 1, Tokens: log[:n-1], From: n - 1, Setup: setup}
			if _, err := forward(t, target, seg); err != nil {
				t.Fatal(err)
			}
			other := backend.Token(1 + rng.IntN(299))
			got, err := forward(t, target, backend.Segment{Sequence: 1, Start: n - 1, Tokens: []backend.Token{other, log[n-1], other}, Parents: []int32{-1, -1, 1}})
			if err != nil || got[1] != chosen {
				t.Fatalf("seed %d: a tree chose %v, a chain %v: %v", seed, got, chosen, err)
			}
			if chosen.Token == endToken {
				var v struct {
					A *int64
					B *[]bool
				}
				if err := json.Unmarshal(text, &v); err != nil || v.A == nil || v.B == nil {
					t.Fatalf("seed %d wrote %q: %v", seed, text, err)
				}
				ended++
				break
			}
			log, text = append(log, chosen.Token), append(text, spell(chosen.Token)...)
		}
	}
	if ended < 35 {
		t.Errorf("%d of 40 ended", ended)
	}
}

func TestConstraintErrors(t *testing.T) {
	good := &backend.Setup{PromptLength: 1, Constraint: grammar.Constraint{Kind: grammar.JSONObject}}
	seg := backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 2}, Setup: good}
	if _, err := forward(t, load(t), seg); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("without text: %v", err)
	}
	e := load(t, "text", "bytes")
	if _, err := forward(t, e, backend.Segment{Sequence: 1, Tokens: []backend.Token{1}, Setup: &backend.Setup{Constraint: grammar.Constraint{Kind: "x"}}}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("bad kind: %v", err)
	}
	if s, _ := e.Held(); s != 0 {
		t.Errorf("%d sequences are held", s)
	}
	if _, err := forward(t, e, seg); err != nil {
		t.Fatal(err)
	}
	if _, err := forward(t, e, backend.Segment{Sequence: 1, Start: 2, Tokens: []backend.Token{1}, Setup: good}); !errors.Is(err, backend.ErrSequenceLost) {
		t.Errorf("constraint in mid-text: %v", err)
	}
	if _, err := Load(t.Context(), "", map[string]string{"text": "x"}, nil); !errors.Is(err, backend.ErrLoad) {
		t.Errorf("option text: %v", err)
	}
}

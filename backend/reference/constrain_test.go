package reference

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// A real model under a constraint writes what it must, token by token and within trees alike.
func TestConstraint(t *testing.T) {
	e, err := load(t.Context(), models.DraftName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	f, err := open(models.DraftName)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	prompt := tok.Encode("Once upon a time", tokenizer.Options{AddBOS: tok.AddBOS()})
	one := func(s backend.Segment) []speculative.Choice {
		t.Helper()
		r, err := e.Forward(t.Context(), []backend.Segment{s})
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r[0].Err)
		}
		return r[0].Choices
	}
	for seed := range uint64(3) {
		setup := &backend.Setup{PromptLength: len(prompt), Params: speculative.Params{Temperature: 0.9 * float32(min(seed, 1)), Seed: seed},
			Constraint: grammar.Constraint{Kind: grammar.JSONSchema, Source: `{"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer","minimum":1,"maximum":99}},"required":["name","age"],"additionalProperties":false}`}}
		log := append([]backend.Token{}, prompt...)
		c := one(backend.Segment{Sequence: 1, Tokens: log, From: len(log) - 1, Setup: setup})
		for len(log) < len(prompt)+80 && c[0].Token != tok.EndTokens()[0] {
			log = append(log, c[0].Token)
			if c[0].Second >= 0 { // beside the runner-up
				tree := one(backend.Segment{Sequence: 1, Start: len(log) - 1, Tokens: []backend.Token{c[0].Second, log[len(log)-1]}, Parents: []int32{-1, -1}})
				c = tree[1:]
				alone := one(backend.Segment{Sequence: 2, Tokens: log, From: len(log) - 1, Setup: setup})
				if c[0] != alone[0] {
					t.Fatalf("a tree chose %+v, a chain %+v", c[0], alone[0])
				}
				one(backend.Segment{Sequence: 1, Start: len(log) - 1, Tokens: log[len(log)-1:]})
				continue
			}
			c = one(backend.Segment{Sequence: 1, Start: len(log) - 1, Tokens: log[len(log)-1:]})
		}
		text := tok.Decode(log[len(prompt):])
		var v struct {
			Name string
			Age  int
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil || v.Age < 1 || v.Age > 99 {
			t.Errorf("seed %d wrote %q: %v", seed, text, err)
		}
		t.Logf("%s", text)
	}
	bad := &backend.Setup{Constraint: grammar.Constraint{Kind: grammar.Regex, Source: "("}}
	r, err := e.Forward(t.Context(), []backend.Segment{{Sequence: 9, Tokens: prompt, Setup: bad}})
	if err != nil || !errors.Is(r[0].Err, backend.ErrInvalid) || !errors.Is(r[0].Err, grammar.ErrConstraint) {
		t.Errorf("%v, %v", r[0].Err, err)
	}
}

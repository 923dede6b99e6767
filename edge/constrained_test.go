package edge

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

func reference1(t *testing.T, model string) backend.Model {
	t.Helper()
	m, err := reference.Load(t.Context(), model, map[string]string{"threads": "1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.(*reference.Engine).Close() })
	return m
}

// targetOnly is what the target says by itself, with the log probability of each token.
func targetOnly(t *testing.T, m backend.Model, setup *backend.Setup, prompt []Token, n int) (out []Token, lp []float32) {
	t.Helper()
	const seq = 1 << 40
	seg := backend.Segment{Sequence: seq, Tokens: prompt, From: len(prompt) - 1, Setup: setup, Logprobs: 1}
	for len(out) < n {
		r, err := m.Forward(t.Context(), []backend.Segment{seg})
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r)
		}
		k := r[0].Choices[0].Token
		out, lp = append(out, k), append(lp, r[0].Logprobs[0].Chosen)
		if slices.Contains(m.Info().EndTokens, k) {
			break
		}
		seg = backend.Segment{Sequence: seq, Start: seg.Start + len(seg.Tokens), Tokens: []Token{k}, Logprobs: 1}
	}
	_ = m.Release(t.Context(), []backend.Sequence{seq})
	return out, lp
}

// Each parameter, and each kind of constraint, through edge, cloud and engines: the output and the log
// probabilities are those of the target alone, at temperature 0 and 1.
func TestParametersEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("loads models")
	}
	tok := demoTokenizer(t)
	target, draft, oracle := reference1(t, models.TargetName), reference1(t, models.DraftName), reference1(t, models.TargetName)
	r := newRig(t, link.Config{RTT: 4 * time.Millisecond}, func(r *rig) {
		r.config.Tokenizer, r.config.Vocabulary, r.config.Draft, r.draft = tok, "", draft, nil
		r.cloud.config.Targets = []cloud.Target{{Name: "demo", Model: backend.Paced(target, 5*time.Millisecond, 0), Bytes: tok.Bytes}}
	})
	const schema = `{"type":"object","properties":{"name":{"type":"string","maxLength":12},"kind":{"enum":["cat","dog"]},"age":{"type":"integer","minimum":1,"maximum":20}},"required":["name","kind","age"],"additionalProperties":false}`
	accepted := 0
	for name, c := range map[string]struct {
		p speculative.Params
		c *Constraint
		n int
	}{
		"plain":      {},
		"repetition": {p: speculative.Params{RepetitionPenalty: 1.3}},
		"presence":   {p: speculative.Params{PresencePenalty: 1.5}},
		"frequency":  {p: speculative.Params{FrequencyPenalty: 1}},
		"bias":       {p: speculative.Params{LogitBias: map[Token]float32{300: 4, 301: -100}}},
		"seed":       {p: speculative.Params{Seed: 1 << 60}},
		"choice":     {p: speculative.Params{Choice: 3}},
		"filters":    {p: speculative.Params{TopK: 20, TopP: 0.9, MinP: 0.02}},
		"logprobs":   {n: 4},
		"object":     {c: &Constraint{Kind: "json_object"}},
		"schema":     {c: &Constraint{Kind: "json_schema", Source: schema}, n: 1, p: speculative.Params{RepetitionPenalty: 1.1}},
		"regex":      {c: &Constraint{Kind: "regex", Source: ` ?(She|He) [a-z]+ (the|a) [a-z]+\\.`}},
		"choices":    {c: &Constraint{Kind: "choice", Source: `["yes","no"," maybe"]`}, p: speculative.Params{TopP: 0.5}},
		"tags":       {c: &Constraint{Kind: "structural_tag", Source: `{"triggers":["<f>"],"tags":[{"begin":"<f>","schema":` + schema + `,"end":"</f>"}],"at_least_one":true,"stop_after_first":true}`}},
	} {
		for temperature := range 2 {
			req := Request{Prompt: "Once upon a time there was a little girl. She", MaxTokens: 40, Params: c.p, Constraint: c.c, Logprobs: c.n}
			req.Params.Temperature = float32(temperature)
			var got []GeneratedToken
			s, err := r.edge.Generate(t.Context(), req, func(e Event) error { got = append(got, e.Tokens...); return nil })
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			prompt := tok.Encode(req.Prompt, tokenizer.Options{AddBOS: tok.AddBOS()})
			want, lp := targetOnly(t, oracle, &backend.Setup{Params: req.Params, PromptLength: len(prompt), Constraint: req.constraint()}, prompt, req.MaxTokens)
			var ids []Token
			for i, k := range got {
				ids = append(ids, k.ID)
				if c.n > 0 && i < len(lp) && math.Abs(float64(k.Logprob-max(lp[i], leastLogprob))) > 1e-5 || len(k.Top) != max(0, c.n-1) {
					t.Errorf("%s at T %d: token %d has log probability %g and %d alternatives, want %g", name, temperature, i, k.Logprob, len(k.Top), lp[min(i, len(lp)-1)])
				}
			}
			if !slices.Equal(ids, want) {
				t.Errorf("%s at T %d:\ngot  %q\nwant %q", name, temperature, tok.Decode(ids), tok.Decode(want))
			}
			accepted += s.Usage.Accepted
			text := tok.Decode(ids)
			var v any
			if (name == "schema" || name == "object") && s.Finish == speculative.FinishEnd && json.Unmarshal([]byte(text), &v) != nil {
				t.Errorf("%s wrote %q", name, text)
			}
			t.Logf("%-10s T %d: %d of %d accepted, %s: %q", name, temperature, s.Usage.Accepted, s.Usage.Judged, s.Finish, text)
		}
	}
	if accepted == 0 {
		t.Error("nothing that the draft proposed was accepted")
	}
}

// What cannot be is refused before any cloud is asked.
func TestConstraintRefused(t *testing.T) {
	r := newRig(t, link.Config{})
	for _, req := range []Request{
		{Constraint: &Constraint{Kind: "json_schema", Source: `{"not":{}}`}},
		{Constraint: &Constraint{Kind: "json_object"}, IgnoreEnd: true},
		{Constraint: &Constraint{}},
		{Logprobs: 22}, {Logprobs: -1},
	} {
		req.Tokens = []Token{1, 2}
		if _, err := r.edge.Generate(t.Context(), req, func(Event) error { return nil }); !errors.Is(err, ErrRequest) {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

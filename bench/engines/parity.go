// Package engines compares two engines that run one model: do they choose the same tokens, and how
// fast are they?
package engines

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Parity is how far two engines agree in greedy decoding.
type Parity struct {
	Prompts   int          `json:"prompts"`
	Tokens    int          `json:"tokens"` // per prompt
	Identical int          `json:"identical"`
	Differ    []Difference `json:"differ,omitempty"`
}

// Difference is the first token of a prompt at which two engines part.
type Difference struct {
	Prompt   int           `json:"prompt"`
	Position int           `json:"position"` // among the generated tokens
	Token    backend.Token `json:"token"`    // the first engine's
	Other    backend.Token `json:"other"`
	Gap      float64       `json:"gap"` // between the two highest logits, as the first engine sees it
	OtherGap float64       `json:"other_gap"`
}

// Compare decodes n tokens from every prompt with both engines.
func Compare(ctx context.Context, a, b backend.Model, prompts [][]backend.Token, n int) (Parity, error) {
	p := Parity{Prompts: len(prompts), Tokens: n}
	for i, prompt := range prompts {
		x, err := greedy(ctx, a, prompt, n)
		if err != nil {
			return p, fmt.Errorf("%s: %w", a.Info().Engine, err)
		}
		y, err := greedy(ctx, b, prompt, n)
		if err != nil {
			return p, fmt.Errorf("%s: %w", b.Info().Engine, err)
		}
		at := 0
		for at < n && x[at].Token == y[at].Token {
			at++
		}
		if at == n {
			p.Identical++
			continue
		}
		p.Differ = append(p.Differ, Difference{Prompt: i, Position: at, Token: x[at].Token, Other: y[at].Token, Gap: gap(x[at]), OtherGap: gap(y[at])})
	}
	return p, nil
}

// sequence is the one that this package uses.
const sequence = 1

// greedy decodes beyond end tokens, so that every prompt gives as much to compare.
func greedy(ctx context.Context, m backend.Model, log []backend.Token, n int) ([]speculative.Choice, error) {
	seg := backend.Segment{Sequence: sequence, Tokens: log, From: len(log) - 1, Setup: &backend.Setup{PromptLength: len(log)}}
	var out []speculative.Choice
	for len(out) < n {
		c, err := one(ctx, m, seg)
		if err != nil {
			return nil, err
		}
		out = append(out, c[0])
		seg = backend.Segment{Sequence: sequence, Start: seg.Start + len(seg.Tokens), Tokens: []backend.Token{c[0].Token}}
	}
	return out, m.Release(ctx, []backend.Sequence{sequence})
}

// one runs a segment that must succeed.
func one(ctx context.Context, m backend.Model, s backend.Segment) ([]speculative.Choice, error) {
	r, err := m.Forward(ctx, []backend.Segment{s})
	if err != nil {
		return nil, err
	}
	return r[0].Choices, r[0].Err
}

// gap is the difference of the two highest logits: at temperature 0 a choice's confidence is the
// logistic function of it.
func gap(c speculative.Choice) float64 {
	p := float64(c.Confidence)
	return -math.Log(1/p - 1)
}

// Widest is the largest gap among the differences: engines that compute the same part at near ties only.
func (p Parity) Widest() float64 {
	w := 0.0
	for _, d := range p.Differ {
		w = max(w, min(d.Gap, d.OtherGap))
	}
	return w
}

// fit keeps a prompt's last tokens, as many as the context holds besides n more.
func fit(prompt []backend.Token, context, n int) []backend.Token {
	if most := context - n - 1; len(prompt) > most {
		return slices.Clone(prompt[len(prompt)-most:])
	}
	return prompt
}

// Package shapes explains why a model chose another token together with a draft than alone: on most
// engines the last bits of a row's logits depend on the shape of the pass, that is how many rows it
// has, and decide where two tokens score nearly the same.
package shapes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Shape is how a log is run.
type Shape struct {
	Rows      int  `json:"rows"`                // of what was generated, per pass
	Piece     int  `json:"piece,omitempty"`     // of the prompt, per pass; 0: all at once
	Neighbour bool `json:"neighbour,omitempty"` // another sequence shares the passes and lies between in the cache
}

func (s Shape) String() string {
	switch {
	case s.Neighbour:
		return "with a neighbour"
	case s.Piece > 0:
		return fmt.Sprintf("prompt by %d", s.Piece)
	}
	return fmt.Sprintf("%d rows", s.Rows)
}

// Shapes are those that Explain tries besides the token by token one.
func Shapes() []Shape {
	var all []Shape
	for _, n := range []int{2, 3, 4, 5, 6, 7, 8, 12, 16} {
		all = append(all, Shape{Rows: n})
	}
	for _, n := range []int{1, 2, 5, 8, 16, 32, 64, 128} {
		all = append(all, Shape{Rows: 1, Piece: n})
	}
	return append(all, Shape{Rows: 1, Neighbour: true}, Shape{Rows: 4, Piece: 32, Neighbour: true})
}

// Choice is what the model says after a log that was run in a shape.
type Choice struct {
	Shape
	Token  backend.Token `json:"token"`
	Second backend.Token `json:"second"`
	Gap    float64       `json:"gap"` // between the two highest scores, noise included; in units of logits
}

// Explanation tells what one choice depends on.
type Explanation struct {
	Alone Choice   `json:"alone"` // token by token, as the target does by itself
	Other []Choice `json:"other"` // in the other shapes
	// Spread is the largest change of the difference between the two tokens' scores by shape.
	Spread float64 `json:"spread"`
}

// Log is where a choice is made: the prompt and what was generated before it.
type Log struct {
	Prompt, Generated []backend.Token
	Params            speculative.Params
}

// Explain asks the model for the choice after a log in each shape. It uses the sequence and the next
// one, which it releases.
func Explain(ctx context.Context, m backend.Model, seq backend.Sequence, l Log) (Explanation, error) {
	alone, err := run(ctx, m, seq, l, Shape{Rows: 1})
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Alone: alone}
	for _, s := range Shapes() {
		if s.Rows > max(1, len(l.Generated)) || s.Piece >= len(l.Prompt) {
			continue
		}
		c, err := run(ctx, m, seq, l, s)
		if err != nil {
			return x, err
		}
		x.Other = append(x.Other, c)
		x.Spread = max(x.Spread, math.Abs(alone.Gap-c.signed(alone.Token)))
	}
	return x, m.Release(ctx, []backend.Sequence{seq, seq + 1})
}

// signed is the gap as the token sees it: negative when the other one won.
func (c Choice) signed(t backend.Token) float64 {
	if c.Token == t {
		return c.Gap
	}
	return -c.Gap
}

// run runs a log in a shape and returns the last choice.
func run(ctx context.Context, m backend.Model, seq backend.Sequence, l Log, s Shape) (Choice, error) {
	piece := s.Piece
	if piece == 0 {
		piece = len(l.Prompt)
	}
	setup := &backend.Setup{Params: l.Params, PromptLength: len(l.Prompt)}
	start, last := 0, backend.Result{}
	for _, part := range append(cut(l.Prompt, piece), cut(l.Generated, s.Rows)...) {
		batch := []backend.Segment{{Sequence: seq, Start: start, Tokens: part, From: len(part) - 1, Setup: setup}}
		if s.Neighbour {
			batch = append([]backend.Segment{{Sequence: seq + 1, Start: start, Tokens: part, From: len(part) - 1, Setup: setup}}, batch...)
		}
		r, err := m.Forward(ctx, batch)
		if err != nil {
			return Choice{}, err
		}
		if last = r[len(r)-1]; last.Err != nil {
			return Choice{}, last.Err
		}
		start, setup = start+len(part), nil
	}
	c := last.Choices[0]
	p := float64(c.Confidence)
	return Choice{Shape: s, Token: c.Token, Second: c.Second, Gap: -math.Log(1/p - 1)}, nil
}

// cut divides a log into parts of n; what is left over comes first, so that the last part is whole.
func cut(log []backend.Token, n int) [][]backend.Token {
	var parts [][]backend.Token
	if k := len(log) % n; k > 0 {
		parts, log = append(parts, log[:k]), log[k:]
	}
	for part := range slices.Chunk(log, n) {
		parts = append(parts, part)
	}
	return parts
}

// slack is how far the gap may be beyond the shapes' spread: a live session mixes shapes, sees other
// rows of the cache and shares its passes with other sessions.
const slack = 4

// Explains says whether the shape of passes accounts for a choice of got: a shape yields it, or got is
// the runner-up and the gap no wider than what shapes do.
func (x Explanation) Explains(got backend.Token) bool {
	if x.Alone.Token == got {
		return true
	}
	if slices.ContainsFunc(x.Other, func(c Choice) bool { return c.Token == got }) {
		return true
	}
	return x.Alone.Second == got && x.Alone.Gap <= slack*x.Spread
}

// String is one line for a person.
func (x Explanation) String() string {
	var other []string
	for _, c := range x.Other {
		if c.Token != x.Alone.Token {
			other = append(other, fmt.Sprintf("%s (%d by %.2g)", c.Shape, c.Token, c.Gap))
		}
	}
	s := fmt.Sprintf("alone %d before %d by %.2g", x.Alone.Token, x.Alone.Second, x.Alone.Gap)
	if len(other) > 0 {
		s += "; otherwise by " + strings.Join(other, ", ")
	}
	return s + fmt.Sprintf("; %d shapes move the gap by up to %.2g", len(x.Other), x.Spread)
}

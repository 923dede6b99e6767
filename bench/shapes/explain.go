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

// Passes are the shapes that Explain tries besides the token by token one, in rows.
var Passes = []int{2, 3, 4, 5, 6, 7, 8, 12, 16}

// Choice is what the model says after a log that was run in passes of so many rows.
type Choice struct {
	Rows   int           `json:"rows"`
	Token  backend.Token `json:"token"`
	Second backend.Token `json:"second"`
	Gap    float64       `json:"gap"` // between the two highest scores, noise included; in units of logits
}

// Explanation tells what one choice depends on.
type Explanation struct {
	Alone  Choice   `json:"alone"` // token by token, as the target does by itself
	Passes []Choice `json:"passes"`
	// Spread is the largest change of the difference between the two tokens' scores by shape.
	Spread float64 `json:"spread"`
}

// Log is where a choice is made: the prompt and what was generated before it, at most
// as much of it as has to be run.
type Log struct {
	Prompt, Generated []backend.Token
	Params            speculative.Params
}

// Explain asks the model for the choice after a log in each shape. It uses a sequence of its own, which
// it releases.
func Explain(ctx context.Context, m backend.Model, seq backend.Sequence, l Log) (Explanation, error) {
	alone, err := run(ctx, m, seq, l, 1)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Alone: alone}
	for _, rows := range Passes {
		if rows > len(l.Generated) && rows > Passes[0] {
			break
		}
		c, err := run(ctx, m, seq, l, rows)
		if err != nil {
			return x, err
		}
		x.Passes = append(x.Passes, c)
		x.Spread = max(x.Spread, math.Abs(x.Alone.signed(x.Alone.Token)-c.signed(x.Alone.Token)))
	}
	return x, m.Release(ctx, []backend.Sequence{seq})
}

// signed is the gap as the token sees it: negative when the other one won.
func (c Choice) signed(t backend.Token) float64 {
	if c.Token == t {
		return c.Gap
	}
	return -c.Gap
}

// run feeds what was generated in passes of so many rows and returns the last choice.
func run(ctx context.Context, m backend.Model, seq backend.Sequence, l Log, rows int) (Choice, error) {
	seg := backend.Segment{Sequence: seq, Tokens: l.Prompt, From: len(l.Prompt) - 1, Setup: &backend.Setup{Params: l.Params, PromptLength: len(l.Prompt)}}
	left := l.Generated
	for {
		r, err := m.Forward(ctx, []backend.Segment{seg})
		if err == nil {
			err = r[0].Err
		}
		if err != nil {
			return Choice{}, err
		}
		if len(left) == 0 {
			c := r[0].Choices[len(r[0].Choices)-1]
			p := float64(c.Confidence)
			return Choice{Rows: rows, Token: c.Token, Second: c.Second, Gap: -math.Log(1/p - 1)}, nil
		}
		n := len(left) % rows // the last pass has all its rows
		if n == 0 {
			n = rows
		}
		n = min(n, len(left))
		seg = backend.Segment{Sequence: seq, Start: seg.Start + len(seg.Tokens), Tokens: left[:n]}
		left = left[n:]
	}
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
	if slices.ContainsFunc(x.Passes, func(c Choice) bool { return c.Token == got }) {
		return true
	}
	return x.Alone.Second == got && x.Alone.Gap <= slack*x.Spread
}

// String is one line for a person.
func (x Explanation) String() string {
	var other, same []string
	for _, c := range x.Passes {
		if c.Token == x.Alone.Token {
			same = append(same, fmt.Sprint(c.Rows))
		} else {
			other = append(other, fmt.Sprintf("%d (%d by %.2g)", c.Rows, c.Token, c.Gap))
		}
	}
	s := fmt.Sprintf("alone %d before %d by %.2g", x.Alone.Token, x.Alone.Second, x.Alone.Gap)
	if len(other) > 0 {
		s += "; otherwise in passes of " + strings.Join(other, ", ")
	}
	if len(same) > 0 {
		s += "; the same in passes of " + strings.Join(same, ", ")
	}
	return s + fmt.Sprintf("; shapes move the gap by up to %.2g", x.Spread)
}

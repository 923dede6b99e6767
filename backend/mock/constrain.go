package mock

import (
	"fmt"
	"math"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/speculative"
)

// spell is the text of a token under the option text=bytes.
func spell(t backend.Token) []byte {
	if t == endToken {
		return nil
	}
	return []byte{byte(t - 1)}
}

// constraint is a sequence's grammar with its state after each row. A nil one allows everything.
type constraint struct {
	g      *grammar.Grammar
	states []*grammar.State // nil: nothing may follow
}

// constrain reads a setup's constraint. What a sequence's rows spell is not kept, so one that comes with
// a log already generated begins at 0.
func (e *Engine) constrain(seg *backend.Segment) (*constraint, error) {
	g, err := e.text.Grammar(seg.Setup)
	if g == nil || err != nil {
		return nil, err
	}
	if seg.Start > seg.Setup.PromptLength {
		return nil, fmt.Errorf("%w: a constraint begins with its prompt", backend.ErrSequenceLost)
	}
	c := &constraint{g: g}
	for range seg.Start {
		c.states = append(c.states, g.Start())
	}
	return c, nil
}

func (c *constraint) move(to, from int) {
	if c != nil {
		c.states[to] = c.states[from]
	}
}

func (c *constraint) cut(n int) {
	if c != nil && n < len(c.states) {
		c.states = c.states[:n]
	}
}

// push adds the row of a token that follows the row from.
func (c *constraint) push(from int, generated bool, t backend.Token) {
	if c == nil {
		return
	}
	at := c.g.Start()
	if generated {
		if from >= 0 {
			at = c.states[from]
		}
		if at = c.after(at, t); t == endToken {
			at = nil
		}
	}
	c.states = append(c.states, at)
}

func (c *constraint) after(at *grammar.State, t backend.Token) *grammar.State {
	if at == nil || t == endToken {
		return nil
	}
	return c.g.Step(at, spell(t))
}

// apply turns a choice after a row into the next one that is allowed, counting upwards.
func (c *constraint) apply(choice speculative.Choice, row, vocabulary int) speculative.Choice {
	if c == nil {
		return choice
	}
	at := c.states[row]
	next := func(t, not backend.Token) backend.Token {
		for i := range min(512, vocabulary-1) { // they hold every byte, also around the end
			k := 1 + (max(t, 1)-1+backend.Token(i))%backend.Token(vocabulary-1)
			if k != not && c.after(at, k) != nil {
				return k
			}
		}
		return -1
	}
	end := at.Complete() && choice.Token%8 == 0
	if choice.Token = next(choice.Token, -1); choice.Token < 0 || end {
		return speculative.Choice{Token: endToken, Second: choice.Token, Confidence: choice.Confidence}
	}
	choice.Second = next(max(choice.Second, 1), choice.Token)
	return choice
}

// logprobs makes some up from the confidence.
func logprobs(choices []speculative.Choice, n int) []speculative.Logprobs {
	if n <= 0 || len(choices) == 0 {
		return nil
	}
	out := make([]speculative.Logprobs, len(choices))
	for i, c := range choices {
		p := float64(c.Confidence)
		out[i].Chosen = float32(math.Log(p))
		top := []speculative.TokenLogprob{{Token: c.Token, Logprob: out[i].Chosen}, {Token: c.Second, Logprob: float32(math.Log((1 - p) / 2))}}
		if c.Second < 0 {
			top = top[:1]
		}
		out[i].Top = top[:min(n-1, len(top))]
	}
	return out
}

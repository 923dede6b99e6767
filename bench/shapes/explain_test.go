package shapes

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

func draft(t *testing.T) backend.Model {
	t.Helper()
	m, err := reference.Load(t.Context(), models.DraftName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bent is an engine whose scores are off by some amount in passes of certain shapes.
type bent struct {
	backend.Model
	by    float64
	alike func(rows int) bool
}

func (b bent) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	r, err := b.Model.Forward(ctx, batch)
	if err != nil || batch[0].Start == 0 || b.alike(len(batch[0].Tokens)) {
		return r, err
	}
	for i, c := range r[0].Choices {
		gap := -math.Log(1/float64(c.Confidence)-1) - b.by
		if gap < 0 {
			c.Token, c.Second, gap = c.Second, c.Token, -gap
		}
		c.Confidence = float32(1 / (1 + math.Exp(-gap)))
		r[0].Choices[i] = c
	}
	return r, nil
}

func generated() Log {
	l := Log{Prompt: []backend.Token{5, 300}}
	for i := range 20 {
		l.Generated = append(l.Generated, backend.Token(300+7*i))
	}
	return l
}

func TestAnExactEngineHasNoSpread(t *testing.T) {
	m := draft(t)
	x, err := Explain(t.Context(), m, 1, generated())
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Other) != 11 || x.Spread != 0 || !x.Explains(x.Alone.Token) || x.Explains(x.Alone.Second) {
		t.Fatalf("%+v", x)
	}
	warm := generated()
	warm.Params = speculative.Params{Temperature: 1, Seed: 3}
	if y, err := Explain(t.Context(), m, 1, warm); err != nil || y.Spread != 0 {
		t.Fatalf("%+v, %v", y, err)
	}
}

func TestShapesExplainAChoice(t *testing.T) {
	m := draft(t)
	exact, err := Explain(t.Context(), m, 1, generated())
	if err != nil {
		t.Fatal(err)
	}
	even := func(rows int) bool { return rows%4 != 0 }
	x, err := Explain(t.Context(), bent{m, exact.Alone.Gap * 1.5, even}, 1, generated())
	if err != nil {
		t.Fatal(err)
	}
	if !x.Explains(exact.Alone.Second) || x.Explains(77) || !strings.Contains(x.String(), "otherwise by 4 rows (") || strings.Contains(x.String(), " 5 rows (") {
		t.Fatalf("%s", x)
	}
	// No shape that was tried yields it, but they come near.
	if x, err = Explain(t.Context(), bent{m, exact.Alone.Gap * 0.5, even}, 1, generated()); err != nil || !x.Explains(exact.Alone.Second) {
		t.Fatalf("%s, %v", x, err)
	}
	if x, err = Explain(t.Context(), bent{m, exact.Alone.Gap * 0.1, even}, 1, generated()); err != nil || x.Explains(exact.Alone.Second) {
		t.Fatalf("%s, %v", x, err)
	}
}

func TestShortLogs(t *testing.T) {
	l := generated()
	l.Generated = nil
	x, err := Explain(t.Context(), draft(t), 1, l)
	if err != nil || x.Spread != 0 || len(x.Other) != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
}

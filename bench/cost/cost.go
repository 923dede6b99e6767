// Package cost measures what a step of a target costs against the sequences and the rows in it, as
// simulations and capacity planning need it.
package cost

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/sweep"
	"github.com/outrider-llm/outrider/speculative"
)

// Config says which steps to measure.
type Config struct {
	Sequences []int // in a step
	Rows      []int // of each sequence
	Most      int   // rows of a step at most; shapes beyond are left out
	Behind    int   // rows that each sequence holds
	Rounds    int   // times that each shape is measured, after one that warms up
	Step      func(done, all int)
}

// Shape is a kind of step and what it took.
type Shape struct {
	Sequences int     `json:"sequences"`
	Rows      int     `json:"rows"` // of all sequences together
	Median    float64 `json:"ms"`
	Low       float64 `json:"ms_p25"`
	High      float64 `json:"ms_p75"`
	Fitted    float64 `json:"fitted_ms"`
}

// Report is what a target's steps cost. Times in milliseconds.
type Report struct {
	Model      string        `json:"model"`
	Parameters uint64        `json:"parameters"`
	Engine     string        `json:"engine"`
	Numerics   string        `json:"numerics"`
	Behind     int           `json:"rows_held"`
	Machine    sweep.Machine `json:"machine"`

	Step     float64 `json:"step_ms"`
	Sequence float64 `json:"sequence_ms"`
	Position float64 `json:"position_ms"`
	Error    float64 `json:"median_error"` // of the fit, relative
	Worst    float64 `json:"worst_error"`
	Shapes   []Shape `json:"shapes"`
}

// Cost is the fit.
func (r *Report) Cost() speculative.Cost {
	return speculative.Cost{Step: duration(r.Step), Sequence: duration(r.Sequence), Position: duration(r.Position)}
}

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Measure runs every shape in every round, in an order of chance, so that what else the machine does meets
// all alike. The model is left without sequences.
func Measure(ctx context.Context, m backend.Model, c Config) (Report, error) {
	var shapes []Shape
	most := 0
	for _, n := range c.Sequences {
		for _, k := range c.Rows {
			if n*k <= c.Most {
				shapes, most = append(shapes, Shape{Sequences: n, Rows: n * k}), max(most, n)
			}
		}
	}
	info := m.Info()
	r := Report{Model: info.Name, Engine: info.Engine, Parameters: info.Parameters, Numerics: info.Numerics, Behind: c.Behind, Machine: sweep.ThisMachine()}
	if len(shapes) < 3 || c.Rounds < 1 {
		return r, errors.New("too few shapes to fit three costs: measure more sequences or rows")
	}
	defer func() { _ = m.Release(context.WithoutCancel(ctx), sequences(most)) }() // the model is going anyway
	if err := hold(ctx, m, most, c.Behind); err != nil {
		return r, err
	}
	took := make([][]float64, len(shapes))
	order := make([]int, len(shapes))
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range c.Rounds + 1 {
		for i := range order {
			order[i] = i
		}
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for at, i := range order {
			d, err := step(ctx, m, shapes[i], c.Behind)
			if err != nil {
				return r, err
			}
			if round > 0 {
				took[i] = append(took[i], ms(d))
			}
			if c.Step != nil {
				c.Step(round*len(order)+at+1, (c.Rounds+1)*len(order))
			}
		}
	}
	r.fit(shapes, took)
	return r, nil
}

func sequences(n int) (out []backend.Sequence) {
	for i := range n {
		out = append(out, backend.Sequence(i+1))
	}
	return out
}

func token(sequence, at int, info backend.Info) backend.Token {
	return backend.Token((300 + sequence*17 + at*37) % info.VocabularySize)
}

// hold gives each sequence rows of its own.
func hold(ctx context.Context, m backend.Model, n, rows int) error {
	for s := range n {
		log := make([]backend.Token, rows)
		for i := range log {
			log[i] = token(s, i, m.Info())
		}
		if _, err := forward(ctx, m, []backend.Segment{{Sequence: backend.Sequence(s + 1), Tokens: log, From: rows, Setup: &backend.Setup{PromptLength: rows}}}); err != nil {
			return err
		}
	}
	return nil
}

func step(ctx context.Context, m backend.Model, s Shape, behind int) (time.Duration, error) {
	batch := make([]backend.Segment, s.Sequences)
	for i := range batch {
		rows := make([]backend.Token, s.Rows/s.Sequences)
		for k := range rows {
			rows[k] = token(i, behind+k, m.Info())
		}
		batch[i] = backend.Segment{Sequence: backend.Sequence(i + 1), Start: behind, Tokens: rows}
	}
	return forward(ctx, m, batch)
}

func forward(ctx context.Context, m backend.Model, batch []backend.Segment) (time.Duration, error) {
	begin := time.Now()
	results, err := m.Forward(ctx, batch)
	took := time.Since(begin)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		return 0, fmt.Errorf("a step of %d sequences: %w", len(batch), err)
	}
	return took, nil
}

// fit fits medians: what else the machine does makes single steps longer, never shorter.
func (r *Report) fit(shapes []Shape, took [][]float64) {
	var steps []speculative.CostStep
	for i := range shapes {
		t := took[i]
		slices.Sort(t)
		at := func(q float64) float64 { return t[int(q*float64(len(t)-1)+0.5)] }
		shapes[i].Low, shapes[i].Median, shapes[i].High = at(0.25), at(0.5), at(0.75)
		steps = append(steps, speculative.CostStep{Sequences: shapes[i].Sequences, Rows: shapes[i].Rows, Took: duration(at(0.5))})
	}
	c := speculative.FitCost(steps)
	r.Step, r.Sequence, r.Position, r.Shapes = ms(c.Step), ms(c.Sequence), ms(c.Position), shapes
	var off []float64
	for i := range shapes {
		s := &shapes[i]
		s.Fitted = r.Step + float64(s.Sequences)*r.Sequence + float64(s.Rows)*r.Position
		off = append(off, math.Abs(s.Fitted/s.Median-1))
	}
	slices.Sort(off)
	r.Error, r.Worst = off[len(off)/2], off[len(off)-1]
}

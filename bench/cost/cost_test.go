package cost

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// timed is a model that costs what it is told to, by a clock of its own.
type timed struct {
	backend.Model
	held map[backend.Sequence]int
}

func (t *timed) Info() backend.Info { return backend.Info{Name: "timed", VocabularySize: 100} }

func (t *timed) Forward(_ context.Context, batch []backend.Segment) ([]backend.Result, error) {
	for _, s := range batch {
		if s.Start > t.held[s.Sequence] {
			panic("rows are missing")
		}
		t.held[s.Sequence] = s.Start + len(s.Tokens)
	}
	return make([]backend.Result, len(batch)), nil
}

func (t *timed) Release(_ context.Context, all []backend.Sequence) error {
	for _, s := range all {
		delete(t.held, s)
	}
	return nil
}

func TestMeasure(t *testing.T) {
	m := &timed{held: map[backend.Sequence]int{}}
	c := Config{Sequences: []int{1, 4, 16}, Rows: []int{1, 4, 8}, Most: 64, Behind: 10, Rounds: 2}
	r, err := Measure(context.Background(), m, c)
	if err != nil || len(r.Shapes) != 8 || len(m.held) != 0 {
		t.Errorf("%v, %d shapes, %d sequences are left", err, len(r.Shapes), len(m.held))
	}
	if c.Sequences = []int{1}; c.Rows[0] > 0 {
		c.Rows = []int{1, 2}
	}
	if _, err := Measure(context.Background(), m, c); err == nil {
		t.Error("two shapes were fitted")
	}
}

// The fit finds what the steps cost, and leaves a part that costs nothing at 0.
func TestFit(t *testing.T) {
	for _, want := range []speculative.Cost{{Step: 40 * time.Millisecond, Sequence: 500 * time.Microsecond, Position: 100 * time.Microsecond},
		{Step: 20 * time.Millisecond, Position: 3 * time.Millisecond}} {
		var shapes []Shape
		var took [][]float64
		for _, n := range []int{1, 4, 16} {
			for _, k := range []int{1, 2, 8} {
				d := ms(want.Step + time.Duration(n)*want.Sequence + time.Duration(n*k)*want.Position)
				shapes, took = append(shapes, Shape{Sequences: n, Rows: n * k}), append(took, []float64{d * 3, d, d * 0.98})
			}
		}
		var r Report
		r.fit(shapes, took)
		got := r.Cost()
		near := func(a, b time.Duration) bool { return math.Abs(ms(a)-ms(b)) < 1e-3*ms(want.Step) }
		if !near(got.Step, want.Step) || !near(got.Sequence, want.Sequence) || !near(got.Position, want.Position) || r.Worst > 1e-3 {
			t.Errorf("%+v, want %+v; off by %g", got, want, r.Worst)
		}
	}
}

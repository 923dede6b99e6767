package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend/mock"
)

// Goodput is what a target gives sessions that get their pace, against what it could give at most. Tokens a
// second of all sessions together.
type Goodput struct {
	Pace     float64 `json:"pace"` // tokens a second that a session is to get
	Tokens   float64 `json:"tokens_per_second"`
	Goodput  float64 `json:"goodput"` // of sessions that got 0.95 of the pace at least
	Bound    float64 `json:"bound"`
	Ratio    float64 `json:"ratio"` // goodput of bound
	Met      int     `json:"sessions_that_got_their_pace"`
	Fairness float64 `json:"jain"`  // Jain's index of the sessions' tokens
	Least    float64 `json:"least"` // the session that got least, of the mean
}

// goodputTime is the virtual time of a run, and goodputWarm what of it is left out: sessions begin in it.
const (
	goodputTime = 12 * time.Second
	goodputWarm = 2 * time.Second
)

// MeasureGoodput runs c's sessions for a while, all wanting as many tokens as they can get. Where they are more than
// the target can keep at the pace, nobody gets it: who may come in is for admission to decide.
func MeasureGoodput(ctx context.Context, c Config, pace float64) (g Goodput, err error) {
	if c.Model.Trace != nil {
		return g, fmt.Errorf("%w: goodput has no bound where agreement is replayed", ErrConfig)
	}
	c.Tokens, c.Arrivals, c.Prompt, c.Pace, c.Spread = 0, nil, 1, pace, goodputWarm/4
	got, err := c.tokensWithin(ctx)
	if err != nil {
		return g, err
	}
	g = Goodput{Pace: pace, Bound: c.settle().bound(pace)}
	span, squares, least := (goodputTime - goodputWarm).Seconds(), 0.0, got[0]
	for _, n := range got {
		rate := n / span
		g.Tokens += rate
		squares += rate * rate
		least = min(least, n)
		if rate >= 0.95*pace {
			g.Goodput += rate
			g.Met++
		}
	}
	if g.Tokens > 0 {
		n := float64(len(got))
		g.Fairness, g.Least = g.Tokens*g.Tokens/(n*squares), least/span*n/g.Tokens
	}
	if g.Bound > 0 {
		g.Ratio = g.Goodput / g.Bound
	}
	return g, nil
}

// tokensWithin counts each session's tokens between goodputWarm and goodputTime, as two runs that are the same up
// to the end of the shorter one tell.
func (c Config) tokensWithin(ctx context.Context) (got []float64, err error) {
	for i, h := range []time.Duration{goodputWarm, goodputTime} {
		c.Horizon = h
		o, err := Run(ctx, c)
		if err != nil {
			return nil, err
		}
		if got == nil {
			got = make([]float64, len(o.Sessions))
		}
		for k, s := range o.Sessions {
			got[k] += float64((2*i - 1) * s.Tokens)
		}
	}
	return got, nil
}

// bound is the most tokens a second that the target can give to sessions that each get the pace: as if every
// session's whole draft tree lay there anew in each step, its probabilities known and true, no link between. Each
// step then takes all nodes above the one probability that gives the most tokens for its time.
func (c Config) bound(pace float64) float64 {
	values := c.trees()
	t := c.Model.Target
	most := c.Sessions
	if s := c.Limits.Sequences; s > 0 {
		most = min(most, s)
	}
	best := 0.0
	for n := 1; n <= c.Sessions; n++ {
		m := min(n, most, c.Limits.Positions)
		top, tokens, nodes := 0.0, float64(m), 0.0
		for i := -1; i < len(values); i++ { // values of trees that were drawn, so many for each session
			if i >= 0 {
				tokens, nodes = tokens+float64(m)*values[i]/drawnTrees, nodes+float64(m)/drawnTrees
			}
			if float64(m)+nodes > float64(c.Limits.Positions) {
				break
			}
			took := t.Step.Seconds() + float64(m)*t.Sequence.Seconds() + (float64(m)+nodes)*t.Position.Seconds()
			top = max(top, tokens/took)
		}
		if top >= float64(n)*pace {
			best = max(best, top)
		}
	}
	return best
}

// drawnTrees is how many draft trees stand for all, leastNode the path probability below which a node is not worth
// its row anywhere.
const (
	drawnTrees = 400
	leastNode  = 0.01
)

// trees returns the path probabilities of all nodes of drawnTrees draft trees, the highest first.
func (c Config) trees() (values []float64) {
	table, rng := mock.Beta(c.Model.Agreement, c.Model.Spread), rand.New(rand.NewPCG(c.Seed, 1))
	var grow func(value float64, depth int)
	grow = func(value float64, depth int) {
		a := c.Model.Agreement
		if table != nil {
			a = table[rng.IntN(len(table))]
		}
		for _, v := range []float64{value * a, value * (1 - a) * c.Model.Second} {
			if v >= leastNode && depth < 64 {
				values = append(values, v)
				grow(v, depth+1)
			}
			if !c.Branches {
				return
			}
		}
	}
	for range drawnTrees {
		grow(1, 0)
	}
	slices.Sort(values)
	slices.Reverse(values)
	return values
}

package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// gauge says when all sessions have spoken and when the first one has ended: in between a run is steady. Its
// tokens are counted as they come.
type gauge struct {
	silent atomic.Int64 // sessions that have not spoken yet
	tokens atomic.Int64
	spoken chan struct{}
	over   chan struct{}
	once   sync.Once
}

func newGauge(sessions int) *gauge {
	g := &gauge{spoken: make(chan struct{}), over: make(chan struct{})}
	g.silent.Store(int64(sessions))
	return g
}

// took notes tokens of a session, the first ones of it or not.
func (g *gauge) took(n int, first bool) {
	if g == nil {
		return
	}
	g.tokens.Add(int64(n))
	if first && g.silent.Add(-1) == 0 {
		close(g.spoken)
	}
}

// ended notes that a session has, well or not.
func (g *gauge) ended() {
	if g != nil {
		g.once.Do(func() { close(g.over) })
	}
}

// window is what was measured while a run was steady.
type window struct {
	Process
	tokens  int64
	seconds float64
	waited  float64
}

// steady watches a run from when all sessions have spoken until the first one ends. It is false when one ended
// before.
func (r *runner) steady(ctx context.Context, w *watcher) (out window, ok bool, err error) {
	select {
	case <-r.gauge.spoken:
	case <-r.gauge.over:
		return out, false, nil
	case <-ctx.Done():
		return out, false, ctx.Err()
	}
	if err := w.begin(ctx); err != nil {
		return out, false, err
	}
	begin, tokens, waited := time.Now(), r.gauge.tokens.Load(), r.c.waited()
	select {
	case <-r.gauge.over:
	case <-ctx.Done():
		return out, false, ctx.Err()
	}
	out.tokens, out.seconds, out.waited = r.gauge.tokens.Load()-tokens, time.Since(begin).Seconds(), r.c.waited()-waited
	out.Process, err = w.end(ctx)
	return out, err == nil, err
}

func (c *Config) waited() float64 {
	if c.Waited == nil {
		return 0
	}
	return c.Waited()
}

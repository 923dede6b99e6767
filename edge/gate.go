package edge

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/edge/reach"
	"github.com/outrider-llm/outrider/edge/router"
)

// gate is what all sessions know of the way to the cloud: a circuit breaker with its probe, and how much
// the cloud is to be spared.
type gate struct {
	l *uplink

	mu       sync.Mutex
	breaker  reach.Breaker
	pressure reach.Pressure
	why      string        // it opened
	since    time.Duration // it is open
	lots     uint64
	watching bool // the probe
}

// shut says that no cloud is in reach as far as is known, and why.
func (g *gate) shut() (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why, g.breaker.State() != reach.Closed
}

// reached notes that the cloud answered.
func (g *gate) reached() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.breaker.Success() {
		g.l.c.Logger.Info("the cloud is in reach again", "cloud", g.l.c.Cloud, "after", g.l.now()-g.since)
		g.l.c.Metrics.breaker.Set(0)
	}
}

// missed notes that a stream ended before the cloud had answered to it.
func (g *gate) missed(err error) {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		g.fail(reason(err), false)
	}
}

// fail notes a failure to reach the cloud, or that somebody has waited long enough.
func (g *gate) fail(why string, waited bool) {
	g.mu.Lock()
	now := g.l.now()
	opened := waited && g.breaker.Timeout(now) || !waited && g.breaker.Failure(now)
	if opened {
		g.why, g.since = why, now
	}
	watching := g.watching
	g.watching = watching || opened
	g.mu.Unlock()
	if !opened {
		return
	}
	g.l.c.Logger.Warn("the cloud is out of reach, requests that may do without begin on the device", "cloud", g.l.c.Cloud, "error", why)
	g.l.c.Metrics.breaker.Set(float64(reach.Open))
	g.l.c.Metrics.breakerOpened.Inc()
	if watching {
		return
	}
	g.l.mu.Lock() // close waits for no more from then on
	defer g.l.mu.Unlock()
	if g.l.ctx.Err() == nil {
		g.l.watching.Go(g.watch)
	}
}

// probeTimeout is how long a probe waits for a connection and an answer.
const probeTimeout = 2 * time.Second

// watch probes until the cloud answers.
func (g *gate) watch() {
	for {
		g.mu.Lock()
		next := g.breaker.Next()
		if g.breaker.State() == reach.Closed {
			g.watching = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		t := time.NewTimer(max(0, next-g.l.now()))
		select {
		case <-t.C:
		case <-g.l.ctx.Done():
			t.Stop()
			return
		}
		g.mu.Lock()
		probe := g.breaker.Probe(g.l.now())
		g.mu.Unlock()
		if !probe {
			continue // closed meanwhile
		}
		g.l.c.Metrics.breaker.Set(float64(reach.HalfOpen))
		if g.probe() == nil {
			continue // which list told
		}
		g.mu.Lock()
		g.breaker.Failure(g.l.now())
		if g.breaker.State() == reach.Open {
			g.l.c.Metrics.breaker.Set(float64(reach.Open))
		}
		g.mu.Unlock()
	}
}

// probe asks the cloud what it serves.
func (g *gate) probe() error {
	ctx, cancel := context.WithTimeout(g.l.ctx, probeTimeout)
	defer cancel()
	g.l.mu.Lock()
	conn := g.l.conn
	g.l.mu.Unlock()
	conn.ResetConnectBackoff()
	_, err := g.l.list(ctx, conn, grpc.WaitForReady(true))
	return err
}

// waited, roundTrip and refused are what the pressure goes by.
func (g *gate) waited(queue time.Duration) {
	g.press(func(p *reach.Pressure, now time.Duration) { p.Waited(now, queue) })
}

func (g *gate) roundTrip(rtt time.Duration) {
	g.press(func(p *reach.Pressure, now time.Duration) { p.RoundTrip(now, rtt) })
}

func (g *gate) refused(after time.Duration) {
	g.press(func(p *reach.Pressure, now time.Duration) { p.Refused(now, after) })
}

// press returns the share of the work that the cloud is to be spared.
func (g *gate) press(observe func(*reach.Pressure, time.Duration)) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.l.now()
	if observe != nil {
		observe(&g.pressure, now)
	}
	return g.pressure.Share(now)
}

// facts puts in what is known of the way to the cloud.
func (g *gate) facts(f router.Facts) {
	if _, shut := g.shut(); shut {
		f["link.up"] = false
	}
	f["cloud.pressure"] = g.press(nil)
}

// lot draws a request's lot.
func (g *gate) lot() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lots++
	return reach.Lot(g.lots)
}

// state is the breaker's, for people.
func (g *gate) state() reach.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.breaker.State()
}

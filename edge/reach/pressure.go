package reach

import (
	"math"
	"time"
)

// Pressure says which share of the work a cloud that is slow or full should be spared: 0 none, 1 all that
// can do without it. It follows how long the cloud and the link make sessions wait, smoothed, rises within
// seconds and falls within half a minute, and does not move for less than the dead band, so that work
// shifts gradually and does not flap. The zero value is ready. Times are since any fixed moment. It is not
// safe for concurrent use.
type Pressure struct {
	queue, excess average       // waits for the cloud's steps; round trips beyond the usual one
	usual         time.Duration // round trip, the least seen, slowly forgotten
	heard         time.Duration // last observation
	refused       time.Duration // until then the cloud wants no more sessions
	share         float64
	moved         time.Duration // share is of then
	way           float64       // in which it moves, until the target is met; 0: it rests
}

// What Pressure goes by.
const (
	smooth   = 2 * time.Second        // an observation that old counts 1/e
	stale    = 10 * time.Second       // silence for as long fades what was observed, at that rate
	unwell   = 50 * time.Millisecond  // wait that costs nothing yet
	overload = 400 * time.Millisecond // wait at which all is spared
	rise     = 5 * time.Second        // from 0 to 1
	fall     = 30 * time.Second       // from 1 to 0
	deadBand = 0.15
	forgets  = 0.02 // of the usual round trip, towards each new one
)

// average is a mean over time with exponential weights.
type average struct {
	value float64 // seconds
	at    time.Duration
	begun bool
}

func (a *average) add(now time.Duration, v time.Duration) {
	x := v.Seconds()
	if !a.begun {
		a.value, a.at, a.begun = x, now, true
		return
	}
	// Many observations at once count as one that is a little old.
	w := 1 - math.Exp(-float64(max(now-a.at, smooth/512))/float64(smooth))
	a.value, a.at = a.value+w*(x-a.value), now
}

// Waited observes how long a session waited for its step in the cloud.
func (p *Pressure) Waited(now, queue time.Duration) {
	p.settle(now)
	p.queue.add(now, max(0, queue))
	p.heard = now
}

// RoundTrip observes a round trip. Only what it takes longer than usual counts: a far cloud is no slow one.
func (p *Pressure) RoundTrip(now, rtt time.Duration) {
	p.settle(now)
	if p.usual == 0 || rtt < p.usual {
		p.usual = rtt
	}
	p.excess.add(now, rtt-p.usual)
	p.usual += time.Duration(forgets * float64(rtt-p.usual))
	p.heard = now
}

// Refused observes that the cloud took no session and asked to come again after a while.
func (p *Pressure) Refused(now, after time.Duration) {
	p.settle(now)
	p.refused = max(p.refused, now+min(max(after, time.Second), fall))
	p.heard = now
}

// Share is the share of the work to spare the cloud.
func (p *Pressure) Share(now time.Duration) float64 {
	p.settle(now)
	return p.share
}

// target is where the share would be at last if things stayed as they are.
func (p *Pressure) target(now time.Duration) float64 {
	if now < p.refused {
		return 1
	}
	wait := p.queue.value + p.excess.value
	if silent := now - p.heard; silent > stale {
		wait *= math.Exp(-float64(silent-stale) / float64(stale))
	}
	return min(1, max(0, (wait-unwell.Seconds())/(overload-unwell).Seconds()))
}

// settle moves the share to now.
func (p *Pressure) settle(now time.Duration) {
	passed := now - p.moved
	if passed <= 0 {
		return
	}
	to := p.target(now)
	p.moved = now
	gap := to - p.share
	switch {
	case gap*p.way > 0 && math.Abs(gap) > deadBand/3: // on
	case math.Abs(gap) >= deadBand, to == 0, to == 1:
		p.way = gap
	default:
		p.way = 0
	}
	if p.way == 0 {
		return
	}
	if to > p.share {
		p.share = min(to, p.share+float64(passed)/float64(rise))
	} else {
		p.share = max(to, p.share-float64(passed)/float64(fall))
	}
}

// Lot spreads decisions evenly: of the lots of n requests in a row about n times any share are below it.
func Lot(n uint64) float64 {
	const golden = 0x9E3779B97F4A7C15 // 2^64 over the golden ratio
	return float64(n*golden>>11) / (1 << 53)
}

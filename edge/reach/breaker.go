// Package reach judges the way to the cloud from outcomes and times that it is told: a circuit breaker
// says whether a cloud is in reach, a controller how much work it should be spared. It is pure: time is an
// argument, nothing here waits.
package reach

import "time"

// State of a Breaker.
type State uint8

// The values of State.
const (
	Closed   State = iota // the cloud is in reach as far as is known
	HalfOpen              // one probe is under way
	Open                  // it is not
)

func (s State) String() string { return [...]string{"closed", "half_open", "open"}[min(s, 2)] }

// Breaker opens after repeated failures or one timeout, and lets a single probe through now and then until
// one succeeds. Times are since any fixed moment and do not go back. The zero value is closed. It is not
// safe for concurrent use.
type Breaker struct {
	state    State
	failures int           // in a row, while closed
	first    time.Duration // the first of them
	next     time.Duration // of the next probe, while open
	pause    time.Duration // between probes
}

// When a breaker opens, and how it probes.
const (
	failuresToOpen = 3                      // in a row, and not all of them in one moment:
	failuresWithin = 300 * time.Millisecond // one cut meets many sessions
	minProbe       = 250 * time.Millisecond
	maxProbe       = 4 * time.Second
)

// State is the breaker's.
func (b *Breaker) State() State { return b.state }

// Success says that the cloud answered. It reports whether that closed the breaker.
func (b *Breaker) Success() bool {
	was := b.state
	*b = Breaker{}
	return was != Closed
}

// Failure says that an attempt to reach the cloud failed. It reports whether the breaker opened.
func (b *Breaker) Failure(now time.Duration) bool {
	switch b.state {
	case HalfOpen:
		b.pause = min(2*b.pause, maxProbe)
		b.state, b.next = Open, now+b.pause
		return false
	case Open:
		return false // begun before it opened
	}
	if b.failures++; b.failures == 1 {
		b.first = now
	}
	if b.failures < failuresToOpen || now-b.first < failuresWithin {
		return false
	}
	b.open(now)
	return true
}

// Timeout says that somebody has waited for the cloud as long as was worth it. It reports whether the
// breaker opened.
func (b *Breaker) Timeout(now time.Duration) bool {
	if b.state != Closed {
		return false
	}
	b.open(now)
	return true
}

func (b *Breaker) open(now time.Duration) {
	b.state, b.pause, b.failures = Open, minProbe, 0
	b.next = now + b.pause
}

// Next is when the next probe is due; it means nothing unless the breaker is open.
func (b *Breaker) Next() time.Duration { return b.next }

// Probe asks whether to probe now; who is told yes reports Success or Failure.
func (b *Breaker) Probe(now time.Duration) bool {
	if b.state != Open || now < b.next {
		return false
	}
	b.state = HalfOpen
	return true
}

package cloud

import (
	"context"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Under load the target would wait between two steps while the loop hands out what the last one gave and
// chooses what the next one runs. So where many more sessions are ready than a step has room for, the next
// step is chosen while the target runs, shortly before it is expected to end, and what a step gave is handed
// out while the next one runs; planAhead does both. Sessions of a step that is chosen are busy, as those of
// the step under way are: they are never in both, and what the edge proposes meanwhile waits for the step
// after. With fewer ready sessions that would cost them more than it saves the target.

// step is a step of the target.
type step struct {
	shares []share
	batch  []backend.Segment
	ratio  float64
	at     speculative.Time // when it was chosen
	// closed when its sessions are busy no longer
	stepped chan struct{}
}

// outcome is what a step gave.
type outcome struct {
	step
	results []backend.Result
	err     error
	took    time.Duration
	over    speculative.Time
}

// ahead is what the loop and its planner share, guarded by the loop's lock.
type ahead struct {
	next   *step            // chosen, to be run as soon as the one under way is over; nil: none
	given  *outcome         // of a step that is over, not handed out yet; nil: none
	due    speculative.Time // when to choose the next step; 0: not at all
	tight  bool             // KV memory was short in the last step: what is chosen must see what it left
	others bool             // a step is handed out while sessions are busy with another one
	wakeup chan struct{}    // of the planner
}

// Of the time that a step is expected to take, the share after which the next one is chosen. So many steps'
// room must be ready.
const (
	aheadAt   = 0.75
	aheadRoom = 2
)

// crowded says whether choosing the next step now costs sessions nothing: they would wait for it anyway.
func (l *loop) crowded() bool {
	return !l.ahead.tight && len(l.blocked) == 0 && len(l.alone) == 0 && l.queued >= aheadRoom*l.c.StepSequences
}

// expect plans the choice of the next step as one begins; l.mu is held.
func (l *loop) expect(shares []share, now speculative.Time) {
	a := &l.ahead
	if a.due = 0; l.crowded() {
		rows := 0
		for i := range shares {
			rows += len(shares[i].seg.Tokens)
		}
		c := l.cost.Cost()
		took := c.Step + time.Duration(len(shares))*c.Sequence + time.Duration(rows)*c.Position
		a.due = now + time.Duration(aheadAt*float64(took))
	}
	if a.due != 0 || a.given != nil {
		select {
		case a.wakeup <- struct{}{}:
		default:
		}
	}
}

// planAhead hands out what steps gave and chooses steps while others run, until ctx is done.
func (l *loop) planAhead(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		l.mu.Lock()
		l.handOut()
		wait := time.Hour
		if due := l.ahead.due; due != 0 {
			wait = due - l.now()
		}
		if wait <= 0 {
			l.choose()
			wait = time.Hour
		}
		l.mu.Unlock()
		t.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-l.ahead.wakeup:
		case <-t.C:
		}
	}
}

// handOut hands out what a step gave, if that waits; l.mu is held.
func (l *loop) handOut() {
	if o := l.ahead.given; o != nil {
		l.ahead.given, l.ahead.others = nil, true
		_ = l.apply(o) // a step that failed is handed out by the loop itself
		l.ahead.others = false
	}
}

// choose chooses the next step; l.mu is held.
func (l *loop) choose() {
	a := &l.ahead
	if a.due = 0; a.next != nil {
		return
	}
	now := l.now()
	l.collect()
	l.expire(now)
	l.expirePrefixes(now)
	l.ring(now)
	if !l.crowded() {
		return
	}
	ratio := l.cost.Cost().Ratio()
	if s := l.plan(now, ratio); len(s.shares) > 0 {
		a.next = s
	}
}

// chosen returns the step that was chosen, without the sessions that have ended since; nil: there is none.
// l.mu is held.
func (l *loop) chosen(now speculative.Time) *step {
	s := l.ahead.next
	if s == nil {
		return nil
	}
	l.ahead.next = nil
	kept := 0
	for i, sh := range s.shares {
		if sh.s.over {
			l.giveUp(sh, sh.seg.Keep != nil)
			continue
		}
		sh.queue += now - s.at
		s.shares[kept], s.batch[kept] = sh, s.batch[i]
		kept++
	}
	if clear(s.shares[kept:]); kept == 0 {
		close(s.stepped)
		return nil
	}
	s.shares, s.batch = s.shares[:kept], s.batch[:kept]
	return s
}

// forgo gives up the step that was chosen: the model may have lost what its sessions hold. l.mu is held.
func (l *loop) forgo() {
	s := l.ahead.next
	if l.ahead.next, l.ahead.due = nil, 0; s == nil {
		return
	}
	for _, sh := range s.shares {
		l.giveUp(sh, true)
	}
	close(s.stepped)
}

// giveUp takes a session out of a step that was not run.
func (l *loop) giveUp(sh share, lost bool) {
	sh.s.busy, sh.s.stepped = false, nil
	sh.s.v.Discard(sh.seg, lost)
	l.keep(sh.s)
	if sh.s.done {
		l.drop(sh.s)
	}
	l.settle(sh.s)
}

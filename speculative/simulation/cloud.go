package simulation

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// cloud is a session's side of the Verifier.
type cloud struct {
	config      speculative.VerifierConfig
	v           *speculative.Verifier
	stream      int         // the newest; older ones are fenced
	open        bool        // the stream is in order
	parked      []Token     // log of an Open that waits for the end of a step
	unread      []upMessage // what came after it
	rows        *rows
	life        int // raised when state is lost: a step under way is discarded
	busy        bool
	evicted     bool // during a step
	cancelled   bool
	served      speculative.Time
	ready       speculative.Time // since when it has waited for a step
	waits       bool
	known       *naive
	acked       int
	earned      float64
	ownAccepted int
	elsewhere   *speculative.Verifier // of a replica that the session has left
	oldRows     *rows
	uncounted   bool
	unsettled   int // nodes of earlier streams that never got a verdict
}

// arrive handles a message at the cloud.
func (s *Sim) arrive(x *session, stream int, m upMessage) {
	c := &x.cloud
	switch {
	case m.open != nil:
		s.opened(x, stream, m.open)
	case c.parked != nil && stream == c.stream:
		c.unread = append(c.unread, m)
	case c.v == nil || stream != c.stream || !c.open:
		return
	case m.cancel:
		s.tracef(x, "cloud: cancelled")
		c.v.Cancel(speculative.FinishCancelled)
		c.cancelled = true
	case m.ack != nil:
		err := c.v.Ack(*m.ack)
		s.i8Ack(x, *m.ack, err)
		if err != nil {
			s.fault(x, err)
			return
		}
		c.acked = max(c.acked, *m.ack)
	case m.propose != nil:
		finished := c.v.Finished() != speculative.NotFinished
		answer := c.known.deliver(m.propose, c.v.Log())
		if m.propose.Epoch < c.known.epoch {
			s.result.Seen.Stale++
		}
		err := c.v.Propose(s.now, m.propose)
		if !finished {
			s.i8Proposal(x, m, answer, err)
		}
		if err != nil {
			s.fault(x, err)
			return
		}
		s.i7Pending(x)
	}
	s.step()
}

func (s *Sim) fault(x *session, err error) {
	s.result.Seen.Faults++
	s.tracef(x, "cloud: fault: %v", err)
	x.cloud.open = false
	s.sendDown(x, x.cloud.stream, downMessage{fault: true})
}

// opened starts a stream. A cloud that still has the session lets a step under way end first and
// takes over what it committed; another one, or one that restarted, begins with the edge's log.
func (s *Sim) opened(x *session, stream int, log []Token) {
	c := &x.cloud
	keep := c.v != nil && s.chance(s.c.Faults.Keep)
	c.stream, c.open, c.parked, c.unread = stream, false, nil, nil
	if keep && c.busy {
		s.result.Seen.Parked++
		c.parked = log
		return
	}
	s.resume(x, log, keep)
	s.step()
}

func (s *Sim) resume(x *session, log []Token, keep bool) {
	c := &x.cloud
	v := speculative.NewVerifier(c.config, log)
	switch {
	case keep && c.elsewhere != nil && s.chance(0.5): // back to a replica that knows an older log
		s.result.Seen.Returns++
		v.Adopt(c.elsewhere)
		c.rows, c.elsewhere, c.uncounted = c.oldRows, nil, true
	case keep:
		s.result.Seen.Adoptions++
		c.unsettled += len(c.v.Waiting())
		v.Adopt(c.v)
	default:
		if c.v != nil {
			s.result.Seen.Restarts++
			if !c.busy {
				c.elsewhere, c.oldRows = c.v, c.rows
			}
		}
		c.rows, c.life, c.busy, c.unsettled, c.uncounted = &rows{}, c.life+1, false, 0, false
	}
	c.v, c.open, c.parked, c.served = v, true, nil, s.now

	c.known, c.acked, c.earned, c.ownAccepted = newNaive(cloudWindow(c.config)), len(log), 0, v.Usage().OwnAccepted
	s.tracef(x, "cloud: stream %d opens at %d, log %d, holds %d", c.stream, len(log), len(v.Log()), v.Held())
	s.sendDown(x, c.stream, downMessage{window: cloudWindow(c.config)})
	if m, ok := v.Replay(len(log)); ok {
		s.sendDown(x, c.stream, downMessage{commit: &m})
	}
}

// evict drops the model's rows of a session.
func (s *Sim) evict(x *session) {
	c := &x.cloud
	if c.v == nil {
		return
	}
	s.result.Seen.Evictions++
	s.tracef(x, "cloud: rows evicted")
	if c.busy {
		c.evicted = true
		return
	}
	*c.rows = rows{}
	c.v.Lost()
}

// share is one session's part of a step.
type share struct {
	x       *session
	life    int
	began   speculative.Time
	known   int // nodes of the newest epoch when it began
	segment speculative.Segment
	choices []speculative.Choice
	failed  bool
	lost    bool // with its rows
}

// step begins the next step of the target when there is something to run.
func (s *Sim) step() {
	if s.stepping || s.result.Violation != nil {
		return
	}
	bids, who := s.bids()
	if len(bids) == 0 {
		return
	}
	grants := speculative.Plan(bids, s.c.Limits, s.c.Cost)
	s.i4Step(bids, grants)
	s.i9Plan(bids, grants)
	s.i5Fair(bids, who, grants)
	if len(grants) == 0 {
		s.violate("I5", nil, "%d sessions are ready and none is served", len(bids))
		return
	}
	took := s.c.Cost.Step
	var shares []share
	for _, g := range grants {
		x := who[g.Bid]
		s.i9Pass(x, bids[g.Bid], g)
		sh := share{x: x, began: s.now, life: x.cloud.life, known: len(x.cloud.known.nodes), segment: x.cloud.v.Begin(g.N)}
		if len(sh.segment.Tokens) > max(1, g.N)+1 || !sh.segment.Prefill && len(sh.segment.Tokens) > 1+g.N {
			s.violate("I4", x, "a segment of %d rows, %d granted", len(sh.segment.Tokens), g.N)
		}
		s.i2ScoredAgrees(x, &sh.segment)
		s.run(&sh)
		x.cloud.busy, x.cloud.served = true, s.now
		shares = append(shares, sh)
		took += s.c.Cost.Sequence + s.c.Cost.Position*time.Duration(len(sh.segment.Tokens))
	}
	if len(shares) > 1 {
		s.result.Seen.Multi++
	}
	s.stepping = true
	s.result.Steps++
	s.result.Busy += took
	s.after(took, func() {
		s.stepping = false
		for i := range shares {
			s.scored(&shares[i])
		}
		s.step()
	})
}

// bids collects the offers; it sees to it that the cloud looks again when time alone changes them.
func (s *Sim) bids() (bids []speculative.Bid, who []*session) {
	var wake speculative.Time
	for _, x := range s.sessions {
		c := &x.cloud
		if c.v == nil || !c.open || c.busy {
			c.waits = false
			continue
		}
		o := c.v.Offer(s.now, s.c.Cost.Ratio())
		switch {
		case o.Ready:
			if !c.waits {
				c.waits, c.ready = true, s.now
			}
			bids = append(bids, speculative.Bid{Offer: o, Since: c.served, Behind: s.now-max(c.ready, c.served) > s.c.FairWait})
			who = append(who, x)
		case o.Wake > s.now:
			c.waits = false
			s.result.Seen.Held++
			if wake == 0 || o.Wake < wake {
				wake = o.Wake
			}
		case c.v.Finished() == speculative.NotFinished:
			s.result.Seen.OutOfCredit++
			s.i9OutOfCredit(x)
		}
	}
	if wake > 0 && len(bids) == 0 && (s.wake <= s.now || wake < s.wake) {
		s.wake = wake
		s.queue.add(wake, s.step)
	}
	return bids, who
}

// run lets the model compute a share. Its choices become known when the step ends.
func (s *Sim) run(sh *share) {
	x := sh.x
	s.tracef(x, "cloud: run at %d %v parents %v keep %v", sh.segment.Start, sh.segment.Tokens, sh.segment.Parents, sh.segment.Keep)
	if sh.segment.Parents != nil {
		s.result.Seen.Trees++
	}
	if sh.failed = s.chance(s.c.Faults.StepFails); sh.failed {
		sh.lost = s.chance(0.5)
		return
	}
	var ok bool
	sh.choices, ok = x.cloud.rows.forward(&x.world, sh.segment)
	if !ok {
		s.violate("I2", x, "the segment begins at %d, the model does not hold so many rows", sh.segment.Start)
	}
}

// scored ends a share of a step.
func (s *Sim) scored(sh *share) {
	x, c := sh.x, &sh.x.cloud
	if c.life != sh.life || s.result.Violation != nil {
		return // the step of an old incarnation
	}
	c.busy = false
	switch {
	case c.evicted || sh.failed:
		s.result.Seen.StepFailures++
		lost := c.evicted || sh.lost
		s.tracef(x, "cloud: the step failed, rows lost: %t", lost)
		if c.evicted = false; lost {
			*c.rows = rows{}
		}
		c.v.Discard(sh.segment, lost)
		s.i7Pending(x)
	default:
		_, before := c.known.live(c.v.Log())
		late := c.v.Usage().Late
		m, err := c.v.Scored(s.now, sh.segment, sh.choices, s.c.Cost.Ratio())
		if err != nil {
			s.violate("I10", x, "%v", err)
			return
		}
		m.Score = s.now - sh.began
		s.i10Judged(x, sh, m)
		s.i4Credit(x)
		s.i7Pending(x)
		s.counts(x)
		if late = c.v.Usage().Late - late; m.Finish == speculative.NotFinished && s.c.Faults.Hostile == 0 && late != c.lateNodes(before, sh, m.Tokens) {
			s.violate("counts", x, "%d nodes counted late, %d are", late, c.lateNodes(before, sh, m.Tokens))
		}
		if c.parked == nil && (len(m.Tokens) > 0 || m.Finish != speculative.NotFinished) {
			s.tracef(x, "cloud: commit at %d %v %v %s", m.Start, m.Tokens, m.Fates, m.Finish)
			s.sendDown(x, c.stream, downMessage{commit: &m})
		}
	}
	if c.parked != nil {
		s.resume(x, c.parked, true)
		unread := c.unread
		c.unread = nil
		for _, m := range unread {
			s.arrive(x, c.stream, m)
		}
	}
}

func cloudWindow(c speculative.VerifierConfig) int {
	if c.Window == 0 {
		return speculative.DefaultWindow
	}
	return c.Window
}

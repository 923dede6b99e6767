package simulation

import (
	"slices"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// edge is a session's side of the Proposer: the shell that drafts, sends, reads and shows.
type edge struct {
	p       *speculative.Proposer
	window  int // as far as known
	linked  bool
	working *speculative.Work
	base    int  // length of the log when the work began
	after   hash // of the tokens that the work follows
	stale   bool // the log has left the work's path
	inbox   []downMessage
	reading bool
	wake    speculative.Time
	unsent  speculative.Time // since when something waits to be sent while drafting rests; 0: nothing does
	shown   int              // tokens that the client has
	over    bool
	gaveUp  bool // cancelled by the client
	begun   speculative.Time
	doneAt  speculative.Time
	sent    ledger
	commits []speculative.Commit // of this stream, for duplicates
}

func (s *Sim) linkUp(x *session, window int) {
	x.edge.p.LinkUp(window)
	if window > 0 {
		x.edge.window = min(x.edge.window, window)
	}
	x.edge.linked = true
	x.edge.sent = newLedger(x.edge.p.Log())
	x.edge.commits = nil
}

// pump does what the Proposer asks for.
func (s *Sim) pump(x *session) {
	e := &x.edge
	if e.over {
		return
	}
	r := e.p.Ready(s.now)
	if r.Draft != nil {
		s.draft(x, r.Draft)
	}
	if r.Ack > 0 {
		s.tracef(x, "edge: ack %d", r.Ack)
		s.sendUp(x, upMessage{ack: &r.Ack})
	}
	if r.Send != nil {
		s.propose(x, r.Send)
	}
	if r.Wake > 0 && (e.wake <= s.now || r.Wake < e.wake) {
		e.wake = r.Wake
		s.queue.add(r.Wake, func() { s.pump(x) })
	}
	s.i12AtRest(x)
}

func (s *Sim) draft(x *session, w *speculative.Work) {
	e := &x.edge
	e.working, e.stale, e.base = w, false, len(e.p.Log())
	e.after = hashOf(e.p.Log())
	for _, t := range w.Path {
		e.after = e.after.push(t)
	}
	s.tracef(x, "edge: draft after %v", w.Path)
	s.after(s.c.DraftStep, func() {
		if e.working == nil {
			return
		}
		e.working = nil
		if s.chance(s.c.Faults.DraftFails) {
			s.result.Seen.DraftFailures++
			e.p.DraftFailed(w.ID)
			s.after(25*time.Millisecond, func() { s.pump(x) })
			return
		}
		if e.stale {
			s.result.Seen.LateDrafts++
		}
		before := e.p.Drafts()
		c := x.world.draft(e.after)
		e.p.Drafted(w.ID, c, s.c.DraftStep)
		s.i12Drafted(x, before, c)
		s.pump(x)
	})
}

func (s *Sim) propose(x *session, m *speculative.Propose) {
	x.edge.unsent = 0
	s.tracef(x, "edge: propose epoch %d first %d %v parents %v", m.Epoch, m.First, m.Tokens, m.Parents)
	s.i11SentOnce(x, m)
	s.i4InFlight(x)
	s.sendUp(x, upMessage{propose: m})
	x.edge.sent.messages = append(x.edge.sent.messages, m)
	if s.chance(s.c.Faults.Duplicate) {
		s.result.Seen.Duplicate++
		old := x.edge.sent.messages[s.rng.IntN(len(x.edge.sent.messages))]
		s.tracef(x, "link: epoch %d first %d again", old.Epoch, old.First)
		s.sendUp(x, upMessage{propose: old})
	}
}

// receive puts a message into the edge's inbox, from where a slow client reads it later.
func (s *Sim) receive(x *session, m downMessage) {
	x.edge.inbox = append(x.edge.inbox, m)
	s.read(x)
}

func (s *Sim) read(x *session) {
	e := &x.edge
	if e.reading || len(e.inbox) == 0 || e.over {
		return
	}
	m := e.inbox[0]
	e.inbox = e.inbox[1:]
	pause := s.c.Faults.Read
	if m.commit == nil {
		pause = 0
	}
	if pause == 0 {
		s.take(x, m)
		s.read(x)
		return
	}
	e.reading = true
	stream := x.link.stream
	s.after(pause, func() {
		e.reading = false
		if x.link.up && x.link.stream == stream && !e.over {
			s.take(x, m)
		}
		s.read(x)
	})
}

func (s *Sim) take(x *session, m downMessage) {
	switch {
	case m.fault:
		s.tracef(x, "edge: told that it broke the protocol")
		s.down(x, time.Millisecond)
	case m.commit != nil:
		s.commit(x, *m.commit)
		if s.chance(s.c.Faults.Duplicate) && x.link.up {
			s.commit(x, x.edge.commits[s.rng.IntN(len(x.edge.commits))])
		}
		s.pump(x)
	default:
		if !x.edge.linked {
			s.linkUp(x, m.window)
		}
		s.pump(x)
	}
}

func (s *Sim) commit(x *session, c speculative.Commit) {
	e := &x.edge
	s.tracef(x, "edge: commit at %d %v %v %s", c.Start, c.Tokens, c.Fates, c.Finish)
	e.commits = append(e.commits, c)
	drafts, known, ended := e.p.Drafts(), len(e.p.Log()), e.p.Finished()
	if err := e.p.Commit(c); err != nil {
		s.violate("I3", x, "commit at %d of %d: %v", c.Start, known, err)
		return
	}
	e.stale = e.stale || !e.workAgrees()
	s.i1Coupled(x)
	s.i3InOrder(x, known)
	s.i12NothingLost(x, drafts, known)
	switch f := e.p.Finished(); {
	case ended != speculative.NotFinished:
		if f != ended {
			s.violate("I3", x, "it had ended (%s), now it has not", ended)
		}
	case f != speculative.NotFinished:
		e.over, e.doneAt = true, s.now
		s.i1Ended(x, f)
	}
}

// workAgrees reports whether the log still agrees with what the draft works on.
func (e *edge) workAgrees() bool {
	if e.working == nil {
		return true
	}
	since := e.p.Log()[e.base:]
	return len(since) <= len(e.working.Path) && slices.Equal(since, e.working.Path[:len(since)])
}

func (s *Sim) cancel(x *session) {
	if x.edge.over {
		return
	}
	s.result.Seen.Cancels++
	s.tracef(x, "edge: cancel")
	s.sendUp(x, upMessage{cancel: true})
	x.edge.over, x.edge.gaveUp, x.edge.doneAt = true, true, s.now
}

package simulation

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// link is the present stream of a session. Both directions are ordered and lossless while it lasts;
// what is under way when it breaks is lost.
type link struct {
	stream   int // number of the newest stream
	up       bool
	lastUp   speculative.Time
	lastDown speculative.Time
}

// upMessage is what an edge sends; one field is set.
type upMessage struct {
	open    []Token // the log
	propose *speculative.Propose
	ack     *int
	cancel  bool
	forged  bool
}

// downMessage is what a cloud sends.
type downMessage struct {
	window int // of Opened
	commit *speculative.Commit
	fault  bool
}

func (s *Sim) sendUp(x *session, m upMessage) {
	if !x.link.up {
		return
	}
	stream := x.link.stream
	x.link.lastUp = max(x.link.lastUp, s.now+s.c.Up+s.between(0, s.c.Jitter))
	s.queue.add(x.link.lastUp, func() {
		if x.link.up && x.link.stream == stream {
			s.arrive(x, stream, m)
		}
	})
}

func (s *Sim) sendDown(x *session, stream int, m downMessage) {
	if !x.link.up || x.link.stream != stream {
		return
	}
	x.link.lastDown = max(x.link.lastDown, s.now+s.c.Down+s.between(0, s.c.Jitter))
	s.queue.add(x.link.lastDown, func() {
		if x.link.up && x.link.stream == stream {
			s.receive(x, m)
		}
	})
}

// open begins a new stream, at first and after each cut.
func (s *Sim) open(x *session) {
	if x.edge.over {
		return
	}
	x.link = link{stream: x.link.stream + 1, up: true, lastUp: s.now, lastDown: s.now}
	if x.link.stream > 1 {
		s.result.Seen.Resumes++
	}
	s.tracef(x, "edge: open stream %d at %d", x.link.stream, len(x.edge.p.Log()))
	s.sendUp(x, upMessage{open: append([]Token{}, x.edge.p.Log()...)})
	if s.early(x) {
		s.linkUp(x, 0)
	}
	s.pump(x)
}

// early reports whether the edge may propose before it knows the cloud's window.
func (s *Sim) early(x *session) bool {
	return s.c.Faults.EarlyLink && x.edge.window <= cloudWindow(x.cloud.config)
}

// cut breaks the stream; the edge opens the next one after a while.
func (s *Sim) cut(x *session) {
	if !x.link.up {
		return
	}
	s.result.Seen.Cuts++
	s.tracef(x, "link: cut stream %d", x.link.stream)
	pause := s.between(time.Millisecond, 300*time.Millisecond)
	if s.chance(0.5) {
		pause /= 16
	}
	s.down(x, pause)
}

func (s *Sim) down(x *session, pause time.Duration) {
	x.link.up = false
	x.edge.inbox, x.edge.linked = nil, false
	x.edge.p.LinkDown()
	s.after(pause, func() { s.open(x) })
	s.pump(x)
}

package simulation

import (
	"slices"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// ledger is what the edge has sent on the present stream.
type ledger struct {
	epoch    int
	nodes    []hash // of the path, by number
	parents  []int
	all      map[hash]bool
	messages []*speculative.Propose
}

func newLedger(log []Token) ledger {
	return ledger{epoch: len(log), all: map[hash]bool{}}
}

// i1Coupled: what is committed is what the target says alone.
func (s *Sim) i1Coupled(x *session) {
	log := x.edge.p.Log()
	if x.world.Lenient > 0 {
		s.i1OneLog(x)
		return
	}
	if len(log) > len(x.want) || !slices.Equal(log, x.want[:len(log)]) {
		s.violate("I1", x, "log %v, alone the target says %v", log, x.want)
	}
}

// i1Ended: a generation ends where and why the target alone would end.
func (s *Sim) i1Ended(x *session, f speculative.Finish) {
	if x.world.Lenient > 0 { // the end that this log has, not the one that the target alone comes to
		x.want = x.world.upToEnd(x.edge.p.Log(), len(x.prompt), x.edge.maxLength(s), s.c.Stop)
	}
	if len(x.edge.p.Log()) != len(x.want) {
		s.violate("I1", x, "ended (%s) at %d, the target alone ends at %d", f, len(x.edge.p.Log()), len(x.want))
		return
	}
	want := speculative.FinishLength
	switch full := len(x.want) == x.edge.maxLength(s); {
	case x.want[len(x.want)-1] == endToken:
		want = speculative.FinishEnd
		s.result.Seen.Ends++
	case !full || f == speculative.FinishStop: // the last token may complete a stop string as well
		want = speculative.FinishStop
		s.result.Seen.Stops++
	default:
		s.result.Seen.Lengths++
	}
	if f != want {
		s.violate("I1", x, "ended because of %q, want %q", f, want)
	}
}

func (e *edge) maxLength(s *Sim) int { return s.c.Prompt + s.c.Length }

// i3InOrder: positions reach the client once each, in order.
func (s *Sim) i3InOrder(x *session, known int) {
	e := &x.edge
	log := e.p.Log()
	if known != e.shown || len(log) < known {
		s.violate("I3", x, "the log went from %d to %d, the client has %d", known, len(log), e.shown)
	}
	if len(e.p.Fates()) != len(log)-len(x.prompt) {
		s.violate("I3", x, "%d fates for %d tokens", len(e.p.Fates()), len(log)-len(x.prompt))
	}
	e.shown = len(log)
	for _, f := range e.p.Fates()[min(known-len(x.prompt), len(e.p.Fates())):] {
		if f.Late {
			s.result.Seen.Late++
		}
	}
}

// i4InFlight: node numbers beyond the last committed node stay within the window.
func (s *Sim) i4InFlight(x *session) {
	l, log := &x.edge.sent, x.edge.p.Log()
	root := -1
	if l.epoch < len(log) {
		root = slices.Index(l.nodes, hashOf(log))
	}
	if n := len(l.nodes) - (root + 1); n > x.edge.window {
		s.violate("I4", x, "%d nodes in flight, the window is %d", n, x.edge.window)
	}
	if n := len(x.edge.p.Drafts()); n > s.c.Edge.Window && s.c.Edge.Window > 0 {
		s.violate("I4", x, "%d drafts, the window is %d", n, s.c.Edge.Window)
	}
}

// i11SentOnce: a node is sent once per stream, never for a position known as committed, never off
// the log; numbers and epochs follow the rules.
func (s *Sim) i11SentOnce(x *session, m *speculative.Propose) {
	l, log := &x.edge.sent, x.edge.p.Log()
	if m.Epoch != l.epoch {
		if m.Epoch < l.epoch || m.Epoch != len(log) {
			s.violate("I11", x, "epoch %d after %d with %d committed", m.Epoch, l.epoch, len(log))
			return
		}
		l.epoch, l.nodes, l.parents = m.Epoch, nil, nil
	}
	if m.First != len(l.nodes) || len(m.Tokens) == 0 {
		s.violate("I11", x, "%d nodes from %d on, %d were sent", len(m.Tokens), m.First, len(l.nodes))
		return
	}
	base := hashOf(log[:l.epoch])
	on := map[hash]int{} // path -> position, of what agrees with the log
	for i, h := 0, hash(0); i <= len(log); i++ {
		on[h] = i
		if i < len(log) {
			h = h.push(log[i])
		}
	}
	for i, t := range m.Tokens {
		parent := m.First + i - 1
		if m.Parents != nil {
			parent = int(m.Parents[i])
		}
		h := base
		if parent >= 0 {
			if parent >= len(l.nodes) {
				s.violate("I11", x, "node %d has parent %d", m.First+i, parent)
				return
			}
			h = l.nodes[parent]
		}
		at, committed := on[h]
		if path := h.push(t); l.all[path] {
			s.violate("I11", x, "node %d was sent before on this stream", m.First+i)
		} else {
			l.all[path] = true
		}
		if _, live := x.edge.agrees(parent, h, on); !live || (committed && at < len(log)) {
			s.violate("I11", x, "node %d (token %d) does not continue the log of %d", m.First+i, t, len(log))
		}
		l.nodes = append(l.nodes, h.push(t))
		l.parents = append(l.parents, parent)
	}
	end, drafts := hashOf(log), x.edge.p.Drafts()
	for i, path := range paths(drafts) {
		h := end
		for _, t := range path {
			h = h.push(t)
		}
		if n := drafts[i].Number; n >= len(l.nodes) || (n >= 0 && l.nodes[n] != h) {
			s.violate("I11", x, "node %d went out as another than draft %v", n, path)
			return
		}
	}
}

// agrees reports whether the path that ends in h, node number parent of the epoch, runs through the
// end of the log.
func (e *edge) agrees(parent int, h hash, on map[hash]int) (hash, bool) {
	end := len(e.p.Log())
	for {
		if at, ok := on[h]; ok {
			return h, at == end
		}
		if parent < 0 {
			return h, false
		}
		if parent = e.sent.parents[parent]; parent < 0 {
			h = hashOf(e.p.Log()[:e.sent.epoch])
		} else {
			h = e.sent.nodes[parent]
		}
	}
}

// paths returns the tokens beyond a log that lead to each draft.
func paths(drafts []speculative.Draft) [][]Token {
	out := make([][]Token, len(drafts))
	for i, d := range drafts {
		if d.Parent >= 0 {
			out[i] = slices.Clone(out[d.Parent])
		}
		out[i] = append(out[i], d.Token)
	}
	return out
}

// i12NothingLost: a commit takes away exactly the drafts that it decides or contradicts; what was
// sent stays sent.
func (s *Sim) i12NothingLost(x *session, before []speculative.Draft, known int) {
	log := x.edge.p.Log()
	news := log[known:]
	var want [][]Token
	var sent []bool
	for i, p := range paths(before) {
		if len(p) > len(news) && slices.Equal(p[:len(news)], news) {
			want, sent = append(want, p[len(news):]), append(sent, before[i].Number >= 0)
		}
	}
	after := x.edge.p.Drafts()
	for i, p := range paths(after) {
		if i >= len(want) || !slices.Equal(p, want[i]) || sent[i] != (after[i].Number >= 0) {
			s.violate("I12", x, "drafts after a commit of %v: %v, want %v", news, after, want)
			return
		}
		if after[i].Position != len(log)+len(p)-1 {
			s.violate("I12", x, "draft %v stands at %d", p, after[i].Position)
			return
		}
	}
	if len(after) != len(want) {
		s.violate("I12", x, "after a commit of %v %d of %d drafts that agree are left", news, len(after), len(want))
	}
}

// i12Drafted: a draft's result joins the tree where it was asked for, or nowhere when that place is gone.
func (s *Sim) i12Drafted(x *session, before []speculative.Draft, c speculative.Choice) {
	e := &x.edge
	after := e.p.Drafts()
	if len(after) < len(before) {
		s.violate("I12", x, "a draft's result took %d drafts away", len(before)-len(after))
		return
	}
	all := paths(after)
	for i, d := range after[len(before):] {
		h := hashOf(e.p.Log())
		for _, t := range all[len(before)+i] {
			h = h.push(t)
		}
		if h != e.after.push(c.Token) && h != e.after.push(c.Second) {
			s.violate("I12", x, "token %d joined the tree where it was not drafted", d.Token)
		}
	}
}

// maxHeld is how long a thin link or a thrifty edge may hold a proposal back.
const maxHeld = 3 * time.Second

// i12AtRest: while drafting rests and the link is up nothing is left unsent for long, and drafting rests only
// when there is a reason.
func (s *Sim) i12AtRest(x *session) {
	e := &x.edge
	if e.working != nil || e.p.Finished() != speculative.NotFinished {
		return
	}
	root := -1
	if e.sent.epoch < len(e.p.Log()) {
		root = slices.Index(e.sent.nodes, hashOf(e.p.Log()))
	}
	full := e.linked && len(e.sent.nodes)-(root+1) >= e.window
	drafts := e.p.Drafts()
	waits := slices.ContainsFunc(drafts, func(d speculative.Draft) bool { return e.linked && d.Number < 0 && !full })
	switch {
	case !waits:
		e.unsent = 0
	case !e.p.Stats().Held || e.wake <= s.now:
		s.violate("I12", x, "drafting rests, something is unsent, and nothing will send it")
		return
	case e.unsent == 0:
		e.unsent = s.now
	case s.now-e.unsent > maxHeld:
		s.violate("I12", x, "drafting rests and something is unsent since %s", e.unsent)
		return
	}
	next := len(e.p.Log()) + 1
	fits := next <= e.maxLength(s)-1 && (s.c.Edge.DraftContext == 0 || next < s.c.Edge.DraftContext)
	if len(drafts) == 0 && !full && fits && e.p.Stats().Depth > 0 {
		s.violate("I12", x, "drafting rests although nothing follows the log of %d", len(e.p.Log()))
	}
}

package speculative

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// ProposerConfig fixes what does not change during a session.
type ProposerConfig struct {
	MaxLength    int // absolute length at which the session ends; 0: none
	DraftContext int // the draft's context; drafting stops there, the session does not
	Window       int // nodes in flight at most; 0: DefaultWindow
	EndTokens    []Token
	MinPath      float64 // draft while the path probability is at least this; 0: DefaultMinPath
	// Worth is the share of a target step that a drafted token must be expected to save; 0: drafting is free
	// as far as MinPath goes.
	Worth     float64
	Depth     int           // fixed bound on depth, 0: adaptive; negative: never draft
	Gap       time.Duration // least time between flushes while drafting; 0: DefaultGap
	Thrifty   bool          // fewer bytes up: one flush per step of the verifier
	Branches  bool          // also propose the draft's second choices, best first
	GuessOnly bool          // there is no draft to ask, only what Guess brings
}

// Defaults found by simulation (protocol.md, "Depth, flush, branches").
const (
	DefaultWindow  = 64
	DefaultMinPath = 0.015
	ThriftyMinPath = 0.03 // of a thrifty edge
	DefaultGap     = 4 * time.Millisecond
	AckEvery       = 16
)

// Proposer is the edge's half of one session: it decides what to draft, what to send and when,
// and what is final. Owned by one goroutine. The invariants it keeps are in doc.go.
type Proposer struct {
	c        ProposerConfig
	log      []Token
	fates    []TokenFate // of log[start:]
	start    int         // len(log) at the beginning
	finish   Finish
	usage    Usage
	root     *node // stands for the last committed token
	live     []*node
	unsent   []*node
	drafting *node
	nextID   uint64
	epoch    int
	sent     int // nodes sent in this epoch
	linked   bool
	acked    int
	flushed  Time
	way      upflow
	held     bool          // what is unsent waits for the verifier's step, or for a thin link
	news     *Commit       // arrived since the last Ready
	perToken time.Duration // smoothed draft time
	cal      calibrator
	agree    agreement
	pay      payoff
	stats    ProposerStats
}

// TokenFate is a committed token's fate as the edge knows it.
type TokenFate struct {
	Fate Fate
	Late bool // run ahead to, and the edge had proposed the same
}

// ProposerStats counts what the edge did.
type ProposerStats struct {
	Drafted  int  // tokens drafted
	Guessed  int  // tokens that Guess brought
	Sent     int  // nodes sent
	Messages int  // Propose messages
	Compared int  // committed tokens in whose place the draft had made a choice
	Agreed   int  // of those, where it had chosen the same
	Held     bool // what is unsent waits for the verifier's step, or for a thin link
	Depth    int  // current bound: 0 while drafting does not pay
}

// NewProposer begins a session whose log so far is prompt (at least one token).
func NewProposer(c ProposerConfig, prompt []Token) *Proposer {
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.MinPath == 0 {
		c.MinPath = DefaultMinPath
		if c.Thrifty {
			c.MinPath = ThriftyMinPath
		}
	}
	if c.Gap == 0 {
		c.Gap = DefaultGap
	}
	p := &Proposer{c: c, log: slices.Clone(prompt), start: len(prompt), acked: len(prompt), flushed: -time.Hour}
	p.root = &node{pos: len(prompt) - 1, number: -1, firstTok: -1}
	p.epoch, p.pay.worth = len(prompt), c.Worth
	return p
}

// Log returns the committed log; it is valid until the next Commit.
func (p *Proposer) Log() []Token { return p.log }

// Fates returns the fates of the tokens committed since the start.
func (p *Proposer) Fates() []TokenFate { return p.fates }

// Finished says whether and why the session ended.
func (p *Proposer) Finished() Finish { return p.finish }

// Usage returns the cloud's counters, known once the session has finished.
func (p *Proposer) Usage() Usage { return p.usage }

// Stats returns the edge's counters.
func (p *Proposer) Stats() ProposerStats {
	s := p.stats
	s.Held = p.held
	if p.pay.resumeAt == 0 && p.c.Depth >= 0 {
		s.Depth = p.c.Window
		if p.c.Depth > 0 {
			s.Depth = p.c.Depth
		}
	}
	return s
}

// LinkUp says that a stream was opened with the log as it is: nothing counts as sent on it. window is
// the one that the cloud grants, 0 for the configured one.
func (p *Proposer) LinkUp(window int) {
	p.linked = true
	p.way.reset()
	if window > 0 {
		p.c.Window = min(p.c.Window, window)
	}
	p.acked = len(p.log)
	p.newEpoch()
	for _, n := range p.live {
		n.number = -1
	}
	p.unsent = slices.Clone(p.live)
}

// LinkDown says that the stream is gone.
func (p *Proposer) LinkDown() { p.linked = false }

func (p *Proposer) newEpoch() {
	p.epoch, p.sent, p.root.number = len(p.log), 0, -1
}

// Work asks for one expansion: the draft's choice after Log() + Path.
type Work struct {
	ID   uint64
	Path []Token
}

// Drafted reports the choice that a Work asked for. A result whose node has died is dropped.
func (p *Proposer) Drafted(id uint64, c Choice, took time.Duration) {
	n := p.drafting
	if n == nil || n.id != id {
		return
	}
	p.drafting = nil
	p.stats.Drafted++
	p.pay.drew()
	if p.perToken == 0 {
		p.perToken = took
	}
	p.perToken += (took - p.perToken) / 8
	if n.dead || p.finish != NotFinished {
		return
	}
	if n.guessed {
		p.opine(n, c)
		return
	}
	p.expand(n, c, p.cal.first(c.Confidence))
}

// expand gives a node its children; p1 is the probability of the first.
func (p *Proposer) expand(n *node, c Choice, p1 float64) {
	n.expanded, n.raw, n.firstTok, n.second = true, c.Confidence, c.Token, c.Second
	bound := p.root.logp + math.Log(p.minPath())
	if n.logp+math.Log(p1) < bound && n != p.root {
		n.unpromised = true
		return
	}
	p.add(n, c.Token, p1, c.Q)
	if p.c.Branches && c.Second >= 0 && c.Second != c.Token && p.room() {
		if p2 := p.cal.second(c.Confidence); n.logp+math.Log(p2) >= bound {
			p.add(n, c.Second, p2, nil)
		}
	}
}

// DraftFailed gives a Work back; it will be asked for again.
func (p *Proposer) DraftFailed(id uint64) {
	if p.drafting != nil && p.drafting.id == id {
		p.drafting = nil
	}
}

// inFlight counts the node numbers beyond the last committed node.
func (p *Proposer) inFlight() int { return p.sent - (p.root.number + 1) }

// room reports whether one more node fits into the window.
func (p *Proposer) room() bool { return p.inFlight()+len(p.unsent) < p.c.Window }

// next returns the most probable node to expand, nil when there is none. For the draft that may be one
// whose guess it doubts.
func (p *Proposer) next(draft bool) *node {
	if p.finish != NotFinished || p.c.Depth < 0 || !p.room() {
		return nil
	}
	bound := p.root.logp + math.Log(max(p.minPath(), p.c.Worth/p.pay.useful()))
	var top *node
	var best float64
	consider := func(n *node) {
		doubt := draft && n.guessed && !n.opinion
		if n.expanded && !doubt || (p.c.MaxLength > 0 && n.pos+1 >= p.c.MaxLength) || (p.c.DraftContext > 0 && n.pos+1 >= p.c.DraftContext) {
			return
		}
		if p.c.Depth > 0 && n.pos+1-len(p.log) >= p.c.Depth {
			return
		}
		logp := n.logp
		if doubt {
			logp += n.doubt()
		}
		if (n != p.root || doubt) && logp < bound || n != p.root && slices.Contains(p.c.EndTokens, n.token) {
			return
		}
		if top == nil || logp > best {
			top, best = n, logp
		}
	}
	consider(p.root)
	for _, n := range p.live {
		consider(n)
	}
	return top
}

// Commit applies a commit. An overlap with the log must agree with it (ErrDiverged); a gap is
// ErrProtocol.
func (p *Proposer) Commit(c Commit) error {
	if c.Start < 0 || c.Start > len(p.log) {
		return protocolError("commit at %d leaves a gap after %d", c.Start, len(p.log))
	}
	if len(c.Fates) != len(c.Tokens) {
		return protocolError("commit of %d tokens has %d fates", len(c.Tokens), len(c.Fates))
	}
	tokens, fates := c.Tokens, c.Fates
	for len(tokens) > 0 && c.Start < len(p.log) {
		if p.log[c.Start] != tokens[0] {
			return fmt.Errorf("%w at position %d: had token %d, got %d", ErrDiverged, c.Start, p.log[c.Start], tokens[0])
		}
		tokens, fates = tokens[1:], fates[1:]
		c.Start++
	}
	if p.finish != NotFinished && len(tokens) > 0 {
		return protocolError("commit after the end")
	}
	p.news = &c
	if c.Finish != NotFinished {
		p.finish, p.usage = c.Finish, c.Usage
	}
	if len(tokens) == 0 {
		return nil
	}
	accepted, agreed := 0, 0
	for i, t := range tokens {
		next := p.advance(t)
		if next.number >= 0 && !next.parent.guessed {
			agreed++
		}
		late := fates[i] == RunAhead && next.everSent
		p.fates = append(p.fates, TokenFate{fates[i], late})
		if fates[i] == Accepted {
			accepted++
		}
	}
	p.prune(agreed, accepted)
	return nil
}

// Ready is what the shell has to do now.
type Ready struct {
	Draft *Work    // expand this node; its result comes back by Drafted or DraftFailed
	Send  *Propose // send this
	Ack   int      // send this acknowledgement, 0: none
	Wake  Time     // call Ready again at this time at the latest, 0: no need
}

// Ready returns the work at hand. What it returns counts as done: a Propose as sent, a Work as
// begun. LinkDown revokes what a broken stream lost.
func (p *Proposer) Ready(now Time) Ready {
	var r Ready
	if p.finish != NotFinished {
		return r
	}
	if p.drafting == nil && !p.c.GuessOnly && p.pay.drafting(len(p.log)) {
		if n := p.next(true); n != nil {
			p.drafting = n
			r.Draft = &Work{ID: n.id, Path: n.path(p.root)}
		}
	}
	if !p.linked {
		return r
	}
	if p.news != nil {
		p.way.commit(now, p.news)
		p.news = nil
	}
	if len(p.log)-p.acked >= AckEvery {
		p.acked = len(p.log)
		r.Ack = p.acked
	}
	if at, ok := p.flushAt(now); ok {
		if at <= now {
			r.Send = p.flush(now)
		} else {
			r.Wake = at
		}
	}
	return r
}

// flushAt says when unsent nodes should go: at once when drafting rests or is slow, otherwise at
// least Gap apart; a thrifty edge waits for the last moment before the verifier's next step. What piles up
// on the way is waited for.
func (p *Proposer) flushAt(now Time) (Time, bool) {
	if len(p.unsent) == 0 || p.inFlight() >= p.c.Window {
		return 0, false
	}
	at, timed := Time(0), false
	if p.thrifty() {
		at, timed = p.way.boundary(now)
	}
	if !timed && p.drafting != nil && p.perToken < p.c.Gap {
		at = p.flushed + p.c.Gap
	}
	after := p.way.earliest(p.flushed)
	p.held = timed && at > now || after > now
	return max(now, at, after), true
}

// thrifty says whether to save bytes: when asked to, and while proposals pile up before a thin link.
func (p *Proposer) thrifty() bool { return p.c.Thrifty || p.way.gap > 0 }

// minPath is the path probability down to which to draft and send.
func (p *Proposer) minPath() float64 {
	if p.way.gap > 0 {
		return max(p.c.MinPath, ThriftyMinPath)
	}
	return p.c.MinPath
}

// flush turns the unsent nodes, as far as the window goes, into one message.
func (p *Proposer) flush(now Time) *Propose {
	m := &Propose{Epoch: p.epoch, First: p.sent}
	chain := true
	fit := min(len(p.unsent), p.c.Window-p.inFlight()) // a new cloud's window may be smaller
	for _, n := range p.unsent[:fit] {
		parent := n.parent.number
		if parent != p.sent-1 {
			chain = false
		}
		n.number, n.everSent = p.sent, true
		p.sent++
		m.Tokens = append(m.Tokens, n.token)
		m.Parents = append(m.Parents, int32(parent))
		m.Confidence = append(m.Confidence, float32(n.p))
		if n.q != nil && m.Q == nil {
			m.Q = make([]*Sparse, len(m.Tokens)-1, fit)
		}
		if m.Q != nil {
			m.Q = append(m.Q, n.q)
		}
	}
	if chain {
		m.Parents = nil
	}
	p.unsent = slices.Delete(p.unsent, 0, fit)
	p.flushed = now
	p.way.note(now)
	p.stats.Sent += len(m.Tokens)
	p.stats.Messages++
	return m
}

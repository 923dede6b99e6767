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
	SendPath     float64 // a choice that is not drafted on from is sent when its path has this; 0: DefaultSendPath
	// Worth is the share of a target step that a drafted token must be expected to save; 0: drafting is free
	// as far as MinPath goes.
	Worth     float64
	Depth     int           // fixed bound on depth, 0: adaptive; negative: never draft
	Batch     int           // nodes that the draft expands in one pass at most; 0: 1
	Gap       time.Duration // least time between flushes while drafting; 0: DefaultGap
	Thrifty   bool          // fewer bytes up: one flush per step of the verifier
	Branches  bool          // also propose the draft's second choices, best first
	GuessOnly bool          // there is no draft to ask, only what Guess brings
}

// Defaults found by simulation (protocol.md, "Depth, flush, branches").
const (
	DefaultWindow   = 64
	DefaultMinPath  = 0.005
	DefaultSendPath = 0.015
	ThriftyMinPath  = 0.03 // of a thrifty edge, for both
	DefaultGap      = 4 * time.Millisecond
	AckEvery        = 16
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
	drafting []*node // by the pass under way
	revisit  bool    // choices that wait may be probable enough by now
	nextID   uint64
	epoch    int
	sent     int // nodes sent in this epoch
	linked   bool
	acked    int
	flushed  Time
	way      upflow
	due      Time          // when the unsent are to go in time for the verifier's step; 0: not set
	held     bool          // what is unsent waits for the verifier's step, or for a thin link
	news     *Commit       // arrived since the last Ready
	perToken time.Duration // smoothed time of a draft pass
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
	if c.SendPath == 0 {
		c.SendPath = DefaultSendPath
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

// Drafted reports the choice that a Work asked for, and how long its pass took. A result whose node has died
// is dropped.
func (p *Proposer) Drafted(id uint64, c Choice, took time.Duration) {
	n := p.given(id)
	if n == nil {
		return
	}
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

// expand takes a node's choices; p1 is the probability of the first.
func (p *Proposer) expand(n *node, c Choice, p1 float64) {
	n.expanded, n.raw, n.firstTok, n.second = true, c.Confidence, c.Token, c.Second
	n.first = waiting{token: c.Token, p: p1, q: c.Q}
	if p.c.Branches && c.Second >= 0 && c.Second != c.Token {
		n.other = waiting{token: c.Second, p: p.cal.second(c.Confidence)}
	}
	p.promote(n)
}

// promote makes nodes of the choices after n that are probable enough. The others wait: they become more
// probable as the log comes closer, or the draft has time for them.
func (p *Proposer) promote(n *node) {
	bound := p.root.logp + math.Log(p.sendPath())
	for _, w := range [...]*waiting{&n.first, &n.other} {
		if w.p > 0 && p.room() && (n.logp+math.Log(w.p) >= bound || n == p.root && w == &n.first) {
			p.take(n, w)
		}
	}
}

// DraftFailed gives a Work back; it will be asked for again.
func (p *Proposer) DraftFailed(id uint64) { p.given(id) }

// given takes back a node that was given out to be drafted; nil: it was not.
func (p *Proposer) given(id uint64) *node {
	i := slices.IndexFunc(p.drafting, func(n *node) bool { return n.id == id })
	if i < 0 {
		return nil
	}
	n := p.drafting[i]
	p.drafting = slices.Delete(p.drafting, i, i+1)
	return n
}

// inFlight counts the node numbers beyond the last committed node.
func (p *Proposer) inFlight() int { return p.sent - (p.root.number + 1) }

// room reports whether one more node fits into the window, beside one for each that is being drafted.
func (p *Proposer) room() bool { return p.inFlight()+len(p.unsent)+len(p.drafting) < p.c.Window }

// deeper is how much more a node counts for each position that it is further from the log: the cloud may
// decide the near ones before anything arrives.
const deeper = 0.06

// next returns the node that is most worth expanding, nil when there is none: by the probability of its path,
// and by deeper. A choice that waited becomes a node. For the draft it may be a node whose guess it doubts.
func (p *Proposer) next(draft bool) *node {
	if p.finish != NotFinished || p.c.Depth < 0 || !p.room() {
		return nil
	}
	bound := p.root.logp + math.Log(max(p.minPath(), p.c.Worth/p.pay.useful()))
	var top *node
	var choice *waiting
	best := math.Inf(-1)
	consider := func(n *node, w *waiting, pos int, t Token, logp float64) {
		value := logp + deeper*float64(pos-p.root.pos)
		if logp >= bound && value > best && p.draftable(pos, t) {
			top, choice, best = n, w, value
		}
	}
	for i := -1; i < len(p.live); i++ {
		n, t := p.root, unknownToken
		if i >= 0 {
			n = p.live[i]
			t = n.token
		}
		if draft && slices.Contains(p.drafting, n) {
			continue
		}
		if !n.expanded {
			consider(n, nil, n.pos, t, n.logp)
		} else if draft && n.guessed && !n.opinion {
			consider(n, nil, n.pos, t, n.logp+n.doubt())
		}
		for _, w := range [...]*waiting{&n.first, &n.other} {
			if w.p > 0 {
				consider(n, w, n.pos+1, w.token, n.logp+math.Log(w.p))
			}
		}
	}
	if choice != nil {
		return p.take(top, choice)
	}
	return top
}

// unknownToken stands for the last committed token: the session would have ended with an end token.
const unknownToken Token = -1

// draftable says whether something may be drafted after the token at this position.
func (p *Proposer) draftable(pos int, t Token) bool {
	return (p.c.MaxLength <= 0 || pos+1 < p.c.MaxLength) && (p.c.DraftContext <= 0 || pos+1 < p.c.DraftContext) &&
		(p.c.Depth <= 0 || pos+1-len(p.log) < p.c.Depth) && !slices.Contains(p.c.EndTokens, t)
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
	Draft []Work   // expand these nodes, in one pass of the draft; each comes back by Drafted or DraftFailed
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
	if p.revisit {
		p.revisit = false
		p.promote(p.root)
		for _, n := range p.live[:len(p.live):len(p.live)] {
			p.promote(n)
		}
	}
	if len(p.drafting) == 0 && !p.c.GuessOnly && p.pay.drafting(len(p.log)) {
		for len(r.Draft) < max(1, p.c.Batch) {
			n := p.next(true)
			if n == nil {
				break
			}
			p.drafting = append(p.drafting, n)
			r.Draft = append(r.Draft, Work{ID: n.id, Path: n.path(p.root)})
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
		p.due = 0
		return 0, false
	}
	at, timed := Time(0), false
	if p.thrifty() {
		if at, timed = p.way.boundary(now); p.due > 0 && now >= p.due { // timers are late
			at = now
		}
		p.due = at
	}
	if !timed && len(p.drafting) > 0 {
		if p.perToken < p.c.Gap {
			at = p.flushed + p.c.Gap
		}
		if p.unsentWorth() < flushWorth {
			at = p.flushed + flushLull
		}
	}
	after := p.way.earliest(p.flushed)
	p.held = timed && at > now || after > now
	return max(now, at, after), true
}

// Nodes that are hardly worth a message of their own wait for others, but not for ever.
const (
	flushWorth = 0.1 // sum of path probabilities
	flushLull  = 30 * time.Millisecond
)

func (p *Proposer) unsentWorth() (sum float64) {
	for _, n := range p.unsent {
		sum += math.Exp(n.logp - p.root.logp)
	}
	return sum
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

// sendPath is the path probability from which on a choice is sent before it is drafted on from.
func (p *Proposer) sendPath() float64 { return max(p.c.SendPath, p.minPath()) }

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
	p.flushed, p.due = now, 0
	p.way.note(now)
	p.stats.Sent += len(m.Tokens)
	p.stats.Messages++
	return m
}

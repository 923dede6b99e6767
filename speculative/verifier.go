package speculative

import (
	"fmt"
	"slices"
	"time"
)

// VerifierConfig fixes what does not change during one stream of a session.
type VerifierConfig struct {
	PromptLength int
	Ending       Ending
	Window       int // nodes in flight at most; 0: DefaultWindow
	// Credit bounds the committed tokens beyond the edge's Ack; 0: DefaultCredit. At least AckEvery,
	// since an edge need not acknowledge sooner.
	Credit int
	// MaxPassesPerToken bounds run-ahead: 1 or more never holds it back, less defers it until the
	// bound is met again or Defer has passed without a live proposal. 0: 1.
	MaxPassesPerToken float64
	Defer             time.Duration // 0: DefaultDefer
}

// Defaults of VerifierConfig.
const (
	DefaultCredit = 64
	DefaultDefer  = 250 * time.Millisecond
)

// Verifier is the cloud's half of one session: it keeps the authoritative log, judges proposals
// and decides what may be run. Owned by one goroutine.
type Verifier struct {
	c         VerifierConfig
	log       []Token
	fates     []Fate // of log[PromptLength:]
	ender     *Ender
	finish    Finish
	usage     Usage
	nodes     nodeSet
	acked     int
	held      int // leading tokens whose KV rows the model holds
	busy      bool
	waiting   bool // run-ahead is held back
	wait      Time // since when
	earned    float64
	tokens    int     // committed by this verifier
	passes    int     // made by this verifier
	hits      float64 // decayed: accepted
	promised  float64 // decayed: what the told confidences of scored nodes promised
	keep      []int32
	gapMean   time.Duration // smoothed time between a commit and the next proposal
	committed Time          // when the last commit was made
	answered  bool          // a proposal has arrived since
}

// NewVerifier starts a stream on a log: the prompt of at least one token, then what was committed
// before. It is finished at once when the log already ends.
func NewVerifier(c VerifierConfig, log []Token) *Verifier {
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.Credit == 0 {
		c.Credit = DefaultCredit
	}
	c.Credit = max(c.Credit, AckEvery)
	if c.MaxPassesPerToken == 0 {
		c.MaxPassesPerToken = 1
	}
	if c.Defer == 0 {
		c.Defer = DefaultDefer
	}
	v := &Verifier{c: c, log: slices.Clone(log), acked: len(log), ender: NewEnder(c.Ending), hits: 4, promised: 4}
	v.nodes = nodeSet{window: c.Window, epoch: -1}
	for i := c.PromptLength; i < len(log); i++ {
		v.fates = append(v.fates, FateUnknown)
		if v.finish = v.ender.Push(log[i], i+1); v.finish != NotFinished {
			v.log = v.log[:i+1]
			break
		}
	}
	if v.finish == NotFinished && c.Ending.MaxLength > 0 && len(log) >= c.Ending.MaxLength {
		v.finish = FinishLength
	}
	return v
}

// Log returns the authoritative log, valid until the next Scored.
func (v *Verifier) Log() []Token { return v.log }

// Finished says whether and why the session ended.
func (v *Verifier) Finished() Finish { return v.finish }

// Usage returns the counters of this stream.
func (v *Verifier) Usage() Usage { return v.usage }

// Pending is the number of nodes that wait for a verdict, at most the window.
func (v *Verifier) Pending() int { return len(v.nodes.live) }

// Waiting returns the numbers, within the newest epoch, of the nodes that wait for a verdict.
func (v *Verifier) Waiting() []int {
	out := make([]int, len(v.nodes.live))
	for i, n := range v.nodes.live {
		out[i] = n.number
	}
	return out
}

// Replay returns the commit that brings an edge that knows from tokens up to date, and whether
// there is anything to say.
func (v *Verifier) Replay(from int) (Commit, bool) {
	if from < v.c.PromptLength || from > len(v.log) || (from == len(v.log) && v.finish == NotFinished) {
		return Commit{}, false
	}
	c := Commit{Start: from, Tokens: slices.Clone(v.log[from:]), Fates: slices.Clone(v.fates[from-v.c.PromptLength:])}
	v.end(&c)
	return c, true
}

// Adopt takes over from an earlier verifier of the same session, at the beginning of a stream: its
// counters, the KV rows that the model holds, and, when this log is a prefix of the other's, what
// was committed beyond it.
func (v *Verifier) Adopt(old *Verifier) {
	v.usage = old.usage
	if v.c.PromptLength != old.c.PromptLength {
		return // another request under the same name
	}
	same := 0
	for same < len(v.log) && same < len(old.log) && v.log[same] == old.log[same] {
		same++
	}
	if same < len(v.log) || v.finish != NotFinished {
		if old.keep == nil {
			v.held = min(old.held, same, len(v.log)-1)
		}
		return
	}
	v.held, v.keep = old.held, old.keep
	copy(v.fates, old.fates)
	for i := len(v.log); i < len(old.log) && v.finish == NotFinished; i++ {
		v.push(old.log[i], old.fates[i-v.c.PromptLength])
	}
}

func (v *Verifier) push(t Token, f Fate) {
	v.log, v.fates = append(v.log, t), append(v.fates, f)
	v.finish = v.ender.Push(t, len(v.log))
}

// Propose takes a proposal. Errors wrap ErrProtocol and end the stream; proposals of an older epoch
// are counted and ignored.
func (v *Verifier) Propose(now Time, m *Propose) error {
	if m.Epoch < 0 || m.First < 0 || (m.Parents != nil && len(m.Parents) != len(m.Tokens)) ||
		(m.Confidence != nil && len(m.Confidence) != len(m.Tokens)) {
		return protocolError("malformed proposal")
	}
	if len(m.Tokens) > v.c.Window {
		return protocolError("a proposal of %d nodes, the window is %d", len(m.Tokens), v.c.Window)
	}
	if m.Epoch > len(v.log) {
		return protocolError("epoch %d is beyond the log's length %d", m.Epoch, len(v.log))
	}
	if v.finish != NotFinished {
		return nil
	}
	if m.Epoch < v.nodes.epoch {
		v.usage.Drafted += len(m.Tokens)
		v.usage.Stale += len(m.Tokens)
		return nil
	}
	if m.Epoch > v.nodes.epoch {
		if m.First != 0 {
			return protocolError("epoch %d begins with node %d", m.Epoch, m.First)
		}
		v.usage.Stale += v.nodes.begin(m.Epoch)
	}
	if !v.answered && v.committed > 0 {
		v.answered = true
		v.gapMean += (now - v.committed - v.gapMean) / 4
	}
	return v.nodes.add(m, v.log, &v.usage)
}

// Ack takes the edge's acknowledgement.
func (v *Verifier) Ack(n int) error {
	if n < 0 || n > len(v.log) {
		return protocolError("acknowledgement %d is beyond the log's length %d", n, len(v.log))
	}
	v.acked = max(v.acked, n)
	return nil
}

// Cancel ends the session; a step in flight is to be discarded by its Segment's owner.
func (v *Verifier) Cancel(why Finish) {
	if v.finish == NotFinished {
		v.finish = why
	}
}

// Offer is what a session would do with a share of the next step.
type Offer struct {
	Prefill int       // prompt tokens that must be run before anything else; 0: none
	Values  []float64 // path probabilities of the nodes that may be scored, falling; the root is worth 1
	Ready   bool      // false: nothing to run now
	Wake    Time      // when that changes by itself, 0: not by time
}

// Offer returns what the session has to run. ratio is (step cost + cost per position) / cost per
// position, by which scoring credit is earned (rule 6).
func (v *Verifier) Offer(now Time, ratio float64) Offer {
	if v.busy || v.finish != NotFinished {
		return Offer{}
	}
	room := v.acked + v.c.Credit - len(v.log)
	if room < 1 { // not even a prompt chunk: a slow reader must not hold KV rows that others need
		return Offer{}
	}
	if n := len(v.log) - 1 - v.held; n > 0 {
		return Offer{Prefill: n, Ready: true}
	}
	limit := max(0, int(v.earned+0.02*ratio))
	nodes := v.nodes.candidates(v.c.Ending.MaxLength)
	nodes = nodes[:min(len(nodes), limit, room-1)]
	if len(nodes) == 0 {
		at := v.runAheadAt(now)
		return Offer{Ready: at <= now, Wake: at}
	}
	o := Offer{Ready: true, Values: make([]float64, len(nodes))}
	trust := min(1, v.hits/v.promised) // an edge that boasts is believed less
	for i, n := range nodes {
		o.Values[i] = trust * n.value
	}
	return o
}

// runAheadAt says when the session may run ahead.
func (v *Verifier) runAheadAt(now Time) Time {
	if v.c.MaxPassesPerToken >= 1 || v.tokens == 0 ||
		float64(v.passes+1) <= v.c.MaxPassesPerToken*float64(v.tokens+1) {
		return now
	}
	if !v.waiting {
		v.waiting, v.wait = true, now
	}
	return v.wait + max(v.c.Defer, 2*v.gapMean)
}

// Segment is a session's share of a step, to be run by the model and handed back to Scored.
type Segment struct {
	Start   int     // position of Tokens[0]
	Tokens  []Token // Tokens[0] is in the log; the rest are nodes
	Parents []int32 // nil: a chain; otherwise indices into Tokens, -1 for Tokens[0]
	Prefill bool    // no choices are wanted
	Keep    []int32 // rows of the previous tree segment that became the log, nil: its first
	judged  int
	promise float64 // accepted nodes to expect, as the edge told
}

// Begin takes n positions of the offer: prompt tokens, or nodes besides the root.
func (v *Verifier) Begin(n int) Segment {
	v.busy, v.waiting = true, false
	keep := v.keep
	v.keep = nil
	if v.held < len(v.log)-1 {
		n = min(n, len(v.log)-1-v.held)
		return Segment{Start: v.held, Tokens: slices.Clone(v.log[v.held : v.held+n]), Prefill: true, Keep: keep}
	}
	nodes := v.nodes.candidates(v.c.Ending.MaxLength)
	nodes = nodes[:min(n, len(nodes))]
	s := Segment{Start: len(v.log) - 1, Tokens: make([]Token, 1, len(nodes)+1), Keep: keep, judged: v.nodes.count()}
	s.Tokens[0] = v.log[len(v.log)-1]
	tree := false
	rows := make([]int32, 1, len(nodes)+1)
	rows[0] = -1
	for i, n := range nodes {
		s.Tokens = append(s.Tokens, n.token)
		s.promise += n.value
		n.scored, n.row = true, int32(i+1)
		parent := int32(0)
		if n.up != nil {
			parent = n.up.row
		}
		rows = append(rows, parent)
		tree = tree || parent != n.row-1
	}
	if tree {
		s.Parents = rows
	}
	return s
}

// Discard gives a segment back that was not run, or whose sequence the model lost when lost is set:
// then the log is run again from 0.
func (v *Verifier) Discard(s Segment, lost bool) {
	v.busy = false
	for _, n := range v.nodes.live {
		n.scored = false
	}
	v.keep = s.Keep
	if lost {
		v.held, v.keep = 0, nil
	}
}

// Held returns how many leading rows of the log the model holds.
func (v *Verifier) Held() int { return v.held }

// Lost says that the model holds no rows of this session any more (evicted, or its process died);
// the log is run again from 0. Not for a session with a segment under way: that is Discard's.
func (v *Verifier) Lost() { v.held, v.keep = 0, nil }

// Scored applies the model's choices after each row of a segment and returns the commit to send.
// A prefill segment yields an empty commit. ratio is the one given to Offer.
func (v *Verifier) Scored(now Time, s Segment, choices []Choice, ratio float64) (Commit, error) {
	v.busy = false
	if s.Prefill {
		v.held = s.Start + len(s.Tokens)
		return Commit{Start: len(v.log)}, nil
	}
	if len(choices) != len(s.Tokens) {
		return Commit{}, fmt.Errorf("model returned %d choices for %d rows", len(choices), len(s.Tokens))
	}
	if v.finish != NotFinished {
		return Commit{Start: len(v.log)}, nil
	}
	c := Commit{Start: len(v.log), JudgedNode: s.judged}
	row, rows := 0, []int32{0}
	for {
		t := choices[row].Token
		child, any := s.child(row, t)
		fate := Bonus
		switch {
		case child > 0:
			fate = Accepted
		case len(s.Tokens) == 1:
			fate = RunAhead
		case any:
			fate = Correction
		}
		v.commit(&c, t, fate)
		if child < 0 || v.finish != NotFinished {
			break
		}
		row = child
		rows = append(rows, int32(row))
	}
	v.account(s, c, ratio)
	v.held = s.Start + len(rows)
	if s.Parents != nil {
		v.keep = rows
	}
	v.committed, v.answered = now, false
	v.end(&c)
	return c, nil
}

// commit appends one token and moves the nodes along.
func (v *Verifier) commit(c *Commit, t Token, f Fate) {
	c.Tokens, c.Fates = append(c.Tokens, t), append(c.Fates, f)
	v.tokens++
	if v.push(t, f); v.finish != NotFinished {
		return
	}
	late, stale := v.nodes.advance(t)
	v.usage.Late += late
	v.usage.Stale += stale
}

// child returns the row that follows row with token t, or -1, and whether row has any child.
func (s *Segment) child(row int, t Token) (int, bool) {
	if s.Parents == nil {
		if row+1 >= len(s.Tokens) {
			return -1, false
		}
		if s.Tokens[row+1] == t {
			return row + 1, true
		}
		return -1, true
	}
	any := false
	for i := row + 1; i < len(s.Tokens); i++ {
		if int(s.Parents[i]) == row {
			any = true
			if s.Tokens[i] == t {
				return i, true
			}
		}
	}
	return -1, any
}

// account updates counters, scoring credit and trust.
func (v *Verifier) account(s Segment, c Commit, ratio float64) {
	scored, accepted := len(s.Tokens)-1, 0
	for _, f := range c.Fates {
		if f == Accepted {
			accepted++
		}
	}
	v.passes++
	v.usage.Passes++
	v.usage.Positions += len(s.Tokens)
	v.usage.Judged += scored
	v.usage.Accepted += accepted
	if scored > 0 {
		v.usage.ScoringPasses++
		v.hits = v.hits*0.95 + float64(accepted)
		v.promised = v.promised*0.95 + s.promise
	}
	v.earned = min(1e6, v.earned+ratio*(0.02+1.02*float64(accepted))-float64(scored))
}

// end fills in what the last commit carries.
func (v *Verifier) end(c *Commit) {
	if c.Finish = v.finish; v.finish != NotFinished {
		c.Usage = v.usage
	}
}

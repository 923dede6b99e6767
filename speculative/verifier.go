package speculative

import (
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
	// bound is met again or Defer has passed without a live proposal; then, until the next proposal,
	// the edge is not waited for again. 0: 1.
	MaxPassesPerToken float64
	// Patience bounds what MaxPassesPerToken may cost: run-ahead and scoring are held back for at most this
	// share of the time that accepted tokens have saved. 0: no such bound.
	Patience float64
	Defer    time.Duration // 0: DefaultDefer
	Chains   bool          // the target runs no trees: of branches only the best child is scored
	Own      Own           // what the cloud itself proposes; only for the coupled rule
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
	fates     []Fate      // of log[PromptLength:]
	logprobs  []*Logprobs // likewise; nil unless the model tells them
	ender     *Ender
	finish    Finish
	usage     Usage
	nodes     nodeSet
	acked     int
	held      int // leading tokens whose KV rows the model holds
	busy      bool
	waiting   bool // run-ahead is held back
	wait      Time // since when
	silent    bool // no proposal came while it was, nor since: not waited for again
	earned    float64
	tokens    int      // committed by this verifier
	passes    int      // made by this verifier
	trust     trust    // in what the edge tells of its drafts
	ownTrust  trust    // in what Own tells of its guesses
	own       []*vnode // of the last Offer, while they hold
	keep      []int32
	gapMean   time.Duration // smoothed time between a commit and the next proposal
	committed Time          // when the last commit was made
	answered  bool          // a proposal has arrived since
	heardAt   Time          // when the last of them did
	gather    gather
	heard     int     // proposals of this stream
	offered   Time    // when the segment under way was offered
	spare     float64 // Patience's share of the time saved and not yet spent, in nanoseconds
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
	v := &Verifier{c: c, log: slices.Clone(log), acked: len(log), ender: NewEnder(c.Ending), trust: newTrust(), ownTrust: newTrust()}
	v.nodes = nodeSet{window: c.Window, chains: c.Chains, epoch: -1}
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
	if v.logprobs != nil {
		c.Logprobs = slices.Clone(v.logprobs[from-v.c.PromptLength:])
	}
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
	same := Common(v.log, old.log)
	if same < len(v.log) || v.finish != NotFinished {
		if old.keep == nil {
			v.held = min(old.held, same, len(v.log)-1)
		}
		return
	}
	v.held, v.keep = old.held, old.keep
	copy(v.fates, old.fates)
	if old.logprobs != nil {
		v.logprobs = slices.Clone(old.logprobs[:len(v.fates)])
	}
	for i := len(v.log); i < len(old.log) && v.finish == NotFinished; i++ {
		var l *Logprobs
		if old.logprobs != nil {
			l = old.logprobs[i-v.c.PromptLength]
		}
		v.push(old.log[i], old.fates[i-v.c.PromptLength], l)
	}
}

func (v *Verifier) push(t Token, f Fate, l *Logprobs) {
	v.log, v.fates = append(v.log, t), append(v.fates, f)
	if l != nil && v.logprobs == nil {
		v.logprobs = make([]*Logprobs, len(v.fates)-1)
	}
	if v.logprobs != nil {
		v.logprobs = append(v.logprobs, l)
	}
	v.finish = v.ender.Push(t, len(v.log))
}

// Propose takes a proposal. Errors wrap ErrProtocol and end the stream; proposals of an older epoch
// are counted and ignored.
func (v *Verifier) Propose(now Time, m *Propose) error {
	if m.Epoch < 0 || m.First < 0 || (m.Parents != nil && len(m.Parents) != len(m.Tokens)) ||
		(m.Confidence != nil && len(m.Confidence) != len(m.Tokens)) || (m.Q != nil && len(m.Q) != len(m.Tokens)) {
		return protocolError("malformed proposal")
	}
	if len(m.Tokens) > v.c.Window {
		return protocolError("a proposal of %d nodes, the window is %d", len(m.Tokens), v.c.Window)
	}
	if m.Epoch > len(v.log) {
		return protocolError("epoch %d is beyond the log's length %d", m.Epoch, len(v.log))
	}
	v.heard, v.heardAt = v.heard+1, now
	if v.finish != NotFinished {
		return nil
	}
	if m.Epoch < v.nodes.epoch {
		v.usage.Drafted += len(m.Tokens)
		v.usage.Stale += len(m.Tokens)
		return nil
	}
	if m.Epoch > v.nodes.epoch {
		v.usage.Stale += v.nodes.begin(m.Epoch)
	}
	v.silent, v.own = false, nil
	v.gather.arrived(now)
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
	Own     []float64 // likewise of the cloud's own proposals, which follow all of those
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
	v.own = v.suggest(nodes, min(limit, room-1)-len(nodes), ratio)
	own := values(v.own, 1)
	if len(nodes) == 0 {
		at := v.runAheadAt(now, own)
		v.offered = now
		return Offer{Ready: at <= now, Wake: at, Own: own}
	}
	if at := v.gatherUntil(now, nodes); at > now {
		return Offer{Wake: at}
	}
	v.offered = now
	return Offer{Ready: true, Values: values(nodes, v.trust.of()), Own: own} // an edge that boasts is believed less
}

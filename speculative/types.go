package speculative

import (
	"errors"
	"fmt"
	"time"
)

// Time is an instant on the caller's monotonic clock. The core never reads a clock.
type Time = time.Duration

// Propose carries drafted tokens upwards (protocol.md, Messages).
type Propose struct {
	Epoch int // committed length that the edge knew when the epoch began
	First int // number of the first node
	// Tokens are the drafted tokens; node numbers are First, First+1, ...
	Tokens []Token
	// Parents holds each node's parent: -1 the epoch's base, otherwise an earlier node's number.
	// nil: a chain that continues node First-1 (the base when First is 0).
	Parents []int32
	// Confidence is the draft's calibrated belief in each node given its parent, 0 to 1. nil: unknown.
	Confidence []float32
	// Q holds what each token was drawn from, under Rejection. nil: point masses.
	Q []*Sparse
}

// CheckDrawn says what is wrong with what the tokens are said to be drawn from, under a rule. Errors
// wrap ErrProtocol.
func (p *Propose) CheckDrawn(r Rule, vocabulary int) error {
	for i, q := range p.Q {
		if q != nil && r.Kind != Rejection {
			return protocolError("a proposal tells what it was drawn from, the rule is %s", r)
		}
		if i < len(p.Tokens) {
			if err := q.Check(p.Tokens[i], vocabulary); err != nil {
				return err
			}
		}
	}
	return nil
}

// drawnFrom is what the i-th token was drawn from.
func (p *Propose) drawnFrom(i int) *Sparse {
	if i >= len(p.Q) {
		return nil
	}
	return p.Q[i]
}

// parent returns the parent number of the i-th node.
func (p *Propose) parent(i int) int {
	if p.Parents == nil {
		return p.First + i - 1
	}
	return int(p.Parents[i])
}

// unknownConfidence stands for what an edge did not tell.
const unknownConfidence = 0.7

// confidence returns the told belief in the i-th node, whatever a hostile edge wrote.
func (p *Propose) confidence(i int) float64 {
	if i >= len(p.Confidence) {
		return unknownConfidence
	}
	return clamp(p.Confidence[i])
}

func clamp(confidence float32) float64 {
	c := float64(confidence)
	if c != c {
		return 0
	}
	return max(0, min(c, 1))
}

// Fate says how a committed token came.
type Fate uint8

// The values of Fate are those of the wire.
const (
	FateUnknown Fate = iota
	Accepted         // a proposed token that the target confirmed
	Correction       // the target's own token at the first mismatch
	Bonus            // the target's own token after all proposals held
	RunAhead         // decoded while no live proposal was there
)

func (f Fate) String() string {
	return [...]string{"unknown", "accepted", "correction", "bonus", "run-ahead"}[min(f, 4)]
}

// Finish says why a session ended; NotFinished while it goes on.
type Finish uint8

// The values of Finish are those of the wire.
const (
	NotFinished Finish = iota
	FinishEnd          // an end token
	FinishLength
	FinishStop // a stop string
	FinishDeadline
	FinishCancelled
)

func (f Finish) String() string {
	return [...]string{"", "end", "length", "stop", "deadline", "cancelled"}[min(f, 5)]
}

// Commit extends the token log; it is all that the downlink carries.
type Commit struct {
	Start      int // position of Tokens[0]
	Tokens     []Token
	Fates      []Fate        // one per token
	Logprobs   []*Logprobs   // one per token, nil when not asked for
	JudgedNode int           // nodes of the newest epoch that had arrived when the step began
	Heard      int           // proposals of the stream that had arrived when the commit was made; 0: not told
	Age        time.Duration // how long before it the newest of them had
	Queue      time.Duration
	Score      time.Duration
	Load       int // sessions in the step
	Finish     Finish
	Usage      Usage // filled when Finish is set
}

// Usage counts one session's work in the words of architecture.md.
type Usage struct {
	Drafted       int // nodes received
	Judged        int // nodes scored
	Accepted      int
	Late          int // right, but already run ahead to
	Stale         int // of an older epoch or dead on arrival
	Passes        int // target passes the session took part in, prompt chunks apart
	ScoringPasses int // passes that scored at least one node
	Positions     int // rows run, prompt apart
	Prefilled     int // prompt rows run; those that were lost and run again count again
	Held          int // leading rows that were held when the session began
	Lenient       int // accepted tokens that the strict rule would have refused
	// What the cloud itself proposed, and what of it the target confirmed; apart from all the above but
	// Positions.
	OwnJudged, OwnAccepted int
}

// Errors of the core. All are permanent for the stream that caused them.
var (
	// ErrProtocol: the peer broke a rule of the wire protocol.
	ErrProtocol = errors.New("protocol error")
	// ErrDiverged: a commit contradicts the committed prefix.
	ErrDiverged = errors.New("the committed prefix changed")
)

func protocolError(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, a...))
}

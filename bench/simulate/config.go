// Package simulate runs the deciding code of package speculative, the same that runs in production,
// on a virtual clock: one session or many edges at one target, over links of any length, with
// synthetic models whose costs and agreement are given. It answers in seconds what would take
// hardware and hours, and says what it assumed.
package simulate

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/trace"
	"github.com/outrider-llm/outrider/speculative"
)

// Confidence says what the draft's told confidence is worth.
type Confidence string

// The kinds of confidence.
const (
	Calibrated Confidence = "calibrated" // the true probability of agreement at each position
	Noisy      Confidence = "noisy"      // its logit with a normal error of 1.5
	Constant   Confidence = "none"       // tells nothing
)

// Strategy is how edge and cloud work together.
type Strategy string

// The strategies that a run can follow. Synchronous and Colocated are loops of their own, without
// the core; the others are the core under different settings.
const (
	Cooperative Strategy = "outrider"    // as configured
	CloudOnly   Strategy = "cloud-only"  // the target streams alone
	Pipelined   Strategy = "pipelined"   // chains in flight, no run-ahead, no branches
	Synchronous Strategy = "synchronous" // draft k tokens, wait for the verdict; the best k
	Colocated   Strategy = "co-located"  // draft model beside the target, the best k; tokens are streamed
	Oracle      Strategy = "oracle"      // the drafter knows which of its tokens hold: a lower bound
)

// Model of the pair of models: what they cost and how often they agree.
type Model struct {
	Target speculative.Cost // of one target step
	Draft  time.Duration    // a drafted token on the edge
	// Agreement is the mean probability that the draft's first choice is the target's; at each position
	// it is drawn from Beta(mean x Spread, (1-mean) x Spread). Spread 0: the same everywhere.
	Agreement, Spread float64
	Second            float64 // of the misses, how often the second choice is right
	Confidence        Confidence
	// Trace, if set, takes the place of Agreement, Spread, Second and Confidence: each simulated session
	// replays recorded ones, drawn with replacement.
	Trace *trace.Set
}

// Config of a run. Run needs all of Model and the counts; zero values elsewhere mean the core's defaults.
type Config struct {
	Seed     uint64
	Strategy Strategy
	Model    Model
	Link     link.Config // each session has one of its own
	Sessions int
	Prompt   int           // tokens
	Tokens   int           // generated per session, 0: until the horizon
	Horizon  time.Duration // the run stops here, 0: when all sessions are done
	Spread   time.Duration // sessions begin evenly within this
	Arrivals []Arrival     // instead of Sessions, Prompt, Tokens and Spread

	Objective speculative.Objective // its aims bear on Worth and Patience of the core, and on RunAhead where that is 0
	RunAhead  float64               // target passes per committed token at most
	Branches  bool
	Depth     int     // as in speculative.ProposerConfig
	MinPath   float64 // likewise
	Window    int
	Gap       time.Duration
	Thrifty   bool
	Limits    speculative.Limits
	FairWait  time.Duration // a session that waits longer is served first
	Pace      float64       // so is one that got fewer tokens a second; 0: no pace
}

// Arrival is a request of a trace.
type Arrival struct {
	At             time.Duration
	Prompt, Tokens int
}

// ErrConfig is wrapped by errors that say which setting is impossible.
var ErrConfig = errors.New("cannot simulate this")

// Bounds that keep a run's memory within a machine's.
const (
	maxSessions = 1_000_000
	maxTokens   = 1 << 20
)

func (c *Config) validate() error {
	bad := func(format string, a ...any) error { return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, a...)) }
	rate := func(v float64) bool { return v >= 0 && v <= 1 }
	m := c.Model
	switch {
	case m.Target.Step < 0 || m.Target.Sequence < 0 || m.Target.Position < 0 || m.Draft < 0 || c.Spread < 0:
		return bad("times must not be negative")
	case m.Target.Step+m.Target.Sequence+m.Target.Position == 0:
		return bad("a target step must cost something: set --target-step")
	case !rate(m.Agreement) || !rate(m.Second) || !rate(c.RunAhead):
		return bad("agreement, second choice and run-ahead are between 0 and 1")
	case !(m.Spread >= 0) || math.IsInf(m.Spread, 0):
		return bad("the spread of agreement is %g, must be 0 or more", m.Spread)
	case m.Confidence != Calibrated && m.Confidence != Noisy && m.Confidence != Constant:
		return bad("confidence %q is unknown: use calibrated, noisy or none", m.Confidence)
	case m.Trace != nil && len(m.Trace.Sessions) == 0:
		return bad("the trace of agreement is empty")
	case len(c.Arrivals) == 0 && (c.Sessions < 1 || c.Sessions > maxSessions || c.Prompt < 1 || c.Prompt > maxTokens):
		return bad("%d sessions with prompts of %d tokens: between 1 and %d, and between 1 and %d are possible", c.Sessions, c.Prompt, maxSessions, maxTokens)
	case len(c.Arrivals) > maxSessions:
		return bad("%d requests, at most %d are possible", len(c.Arrivals), maxSessions)
	case c.Tokens < 0 || c.Tokens > maxTokens || (c.Tokens == 0 && c.Horizon <= 0 && len(c.Arrivals) == 0):
		return bad("%d generated tokens: between 1 and %d are possible", c.Tokens, maxTokens)
	case c.Window < 0 || c.Gap < 0:
		return bad("window and gap must not be negative")
	}
	if err := c.Link.Validate(); err != nil {
		return bad("%s", err)
	}
	for _, a := range c.Arrivals {
		if a.At < 0 || a.Prompt < 1 || a.Tokens < 1 || a.Prompt > maxTokens || a.Tokens > maxTokens {
			return bad("a request at %v with %d prompt and %d generated tokens", a.At, a.Prompt, a.Tokens)
		}
	}
	return nil
}

// settle turns the strategy into settings of the core.
func (c Config) settle() Config {
	switch c.Strategy {
	case CloudOnly:
		c.Depth, c.RunAhead = -1, 1
	case Pipelined:
		c.RunAhead, c.Branches = deferred, false
	case Oracle:
		c.MinPath, c.Branches, c.RunAhead = 0.5, false, 1
	}
	if c.RunAhead == 0 {
		c.RunAhead = c.Objective.Aims().MaxPasses
	}
	if c.Limits.Positions == 0 {
		c.Limits = speculative.Limits{Positions: 256, Prefill: 64}
	}
	if c.FairWait == 0 {
		c.FairWait = 500 * time.Millisecond
	}
	return c
}

// deferred asks for as little run-ahead as the protocol allows.
const deferred = 0.001

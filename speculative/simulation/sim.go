package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// Violation is a broken invariant.
type Violation struct {
	Invariant string // "I1" ... "I12"
	Session   int
	At        speculative.Time
	Detail    string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s at %v in session %d: %s", v.Invariant, v.At, v.Session, v.Detail)
}

// Result of a run.
type Result struct {
	Violation *Violation // the first; the run stops there
	Trace     []string   // the last events, when they were asked for
	Sessions  []SessionResult
	Seen      Seen
	Busy      time.Duration // time that the target was stepping
	Steps     int
	Events    int
}

// SessionResult says how one session went.
type SessionResult struct {
	Begun, Done speculative.Time // Done: when the client had the last token
	Tokens      int              // generated
	Usage       speculative.Usage
	Edge        speculative.ProposerStats
}

// Seen counts what a run went through, so that a test can tell that nothing goes untested.
type Seen struct {
	Cuts, Resumes, Adoptions, Restarts, Returns, Parked int
	Faults, Malformed, Forged, Stale, Duplicate         int
	Evictions, StepFailures, DraftFailures              int
	Trees, Cancels, Held, OutOfCredit, Late             int
	Accepted, Corrections, Bonuses, RunAheads           int
	Ends, Stops, Lengths, Multi, LateDrafts             int
	Own, OwnAccepted, Mixed                             int // the cloud's proposals; steps with both kinds
	Lenient                                             int // by TestRules
}

// Sim is one run.
type Sim struct {
	c        Config
	rng      *rand.Rand
	now      speculative.Time
	queue    queue
	sessions []*session
	stepping bool
	wake     speculative.Time // of the cloud, 0: none
	keep     bool             // keep a trace
	result   Result
}

const (
	maxEvents  = 200_000
	traceLines = 80
)

// Run runs until every session is done and nothing is left to happen, or an invariant breaks. A
// panic of the core counts as a violation named "panic".
func Run(c Config, trace bool) (r Result) {
	s := &Sim{c: c, rng: rand.New(rand.NewPCG(c.Seed, 77)), keep: trace}
	defer func() {
		if p := recover(); p != nil {
			s.violate("panic", nil, "%v", p)
			r = s.result
		}
	}()
	for i := range max(1, c.Sessions) {
		s.sessions = append(s.sessions, s.newSession(i))
	}
	for len(s.queue.events) > 0 && s.result.Violation == nil && s.result.Events < maxEvents {
		e := s.queue.next()
		s.now = e.at
		s.result.Events++
		e.do()
	}
	s.i5Progress()
	for _, x := range s.sessions {
		s.result.Sessions = append(s.result.Sessions, x.result())
	}
	return s.result
}

func (s *Sim) after(d time.Duration, do func()) { s.queue.add(s.now+max(0, d), do) }

// chance draws a yes at the given rate.
func (s *Sim) chance(rate float64) bool { return rate > 0 && s.rng.Float64() < rate }

// between draws a duration.
func (s *Sim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Float64()*float64(hi-lo))
}

func (s *Sim) violate(invariant string, x *session, format string, a ...any) {
	if s.result.Violation != nil {
		return
	}
	v := &Violation{Invariant: invariant, At: s.now, Detail: fmt.Sprintf(format, a...)}
	if x != nil {
		v.Session = x.id
	}
	s.result.Violation = v
	s.tracef(x, "VIOLATION %s", v)
}

func (s *Sim) tracef(x *session, format string, a ...any) {
	if !s.keep {
		return
	}
	line := fmt.Sprintf("%10.3fms ", float64(s.now)/float64(time.Millisecond))
	if x != nil {
		line += fmt.Sprintf("[%d] ", x.id)
	}
	s.result.Trace = append(s.result.Trace, line+fmt.Sprintf(format, a...))
	if n := len(s.result.Trace); n > 2*traceLines {
		s.result.Trace = append(s.result.Trace[:0], s.result.Trace[n-traceLines:]...)
	}
}

// session is one generation: its edge, its link and its side of the cloud.
type session struct {
	id     int
	world  World
	prompt []Token
	want   []Token // what the target says alone
	edge   edge
	link   link
	cloud  cloud
}

func (s *Sim) newSession(id int) *session {
	x := &session{id: id, world: s.c.World}
	x.world.Seed = mix(s.c.World.Seed, uint64(id))
	for i := range s.c.Prompt {
		x.prompt = append(x.prompt, 1+Token(mix(x.world.Seed, uint64(i)+100)%uint64(x.world.Vocabulary-1)))
	}
	length := len(x.prompt) + s.c.Length
	x.want = x.world.alone(x.prompt, length, s.c.Stop)

	e := s.c.Edge
	e.MaxLength, e.EndTokens = length, []Token{endToken}
	x.edge = edge{p: speculative.NewProposer(e, x.prompt), window: e.Window, shown: len(x.prompt)}
	if x.edge.window == 0 {
		x.edge.window = speculative.DefaultWindow
	}
	x.cloud.config = s.c.Cloud
	if s.c.Own {
		x.cloud.config.Own.Guess = x.world.own
	}
	x.cloud.config.PromptLength = len(x.prompt)
	x.cloud.config.Ending = speculative.Ending{MaxLength: length, EndTokens: e.EndTokens, Stop: s.c.Stop, Piece: piece}

	x.edge.begun = s.between(0, s.c.Spread)
	s.queue.add(x.edge.begun, func() { s.open(x) })
	s.planFaults(x)
	return x
}

// planFaults puts the session's mishaps on the time line.
func (s *Sim) planFaults(x *session) {
	f := s.c.Faults
	span := time.Duration(float64(s.c.Length)*0.6+1)*(s.c.Cost.Step+s.c.Cost.Position)*time.Duration(max(1, s.c.Sessions)) + 100*time.Millisecond
	during := func(n int, do func(*session)) {
		for range n {
			s.queue.add(x.edge.begun+s.between(0, span), func() {
				if !x.edge.over {
					do(x)
				}
			})
		}
	}
	during(f.Cuts, s.cut)
	during(f.Hostile, s.forge)
	during(f.Evict, s.evict)
	if f.CancelAfter > 0 {
		s.queue.add(x.edge.begun+f.CancelAfter, func() { s.cancel(x) })
	}
}

func (x *session) result() SessionResult {
	return SessionResult{Begun: x.edge.begun, Done: x.edge.doneAt, Tokens: len(x.edge.p.Log()) - len(x.prompt),
		Usage: x.edge.p.Usage(), Edge: x.edge.p.Stats()}
}

// Package cloud is the verifier server: sessions over one gRPC stream each, one batching loop per
// target. What is judged and what shares a step is decided by package speculative; this package
// moves messages, runs the model and keeps memory bounded.
package cloud

import (
	"context"
	"log/slog"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Target is a large model that this cloud serves, or will serve: without a Model it has Loading or Failed.
type Target struct {
	Name    string
	Model   backend.Model
	Loading func() float32 // how far loading is, from 0 to 1; sessions are told to try again
	Failed  error          // why it could not be loaded; sessions are refused
	// Retired is called once no session is left after SetTargets took the target or its Model away; not
	// when the server is closed before. nil: nobody wants to know.
	Retired func()
	// Bytes returns the text bytes of a token, for stop strings; nil: stop strings are refused.
	Bytes func(backend.Token) []byte
	// Pace describes an emulated step cost, empty when the target runs at its own speed.
	Pace string
	// Tokenizer is what edges fetch; nil: they must bring their own.
	Tokenizer *tokenizer.Packed
}

// restarter is what a Model offers whose process may die and come back.
type restarter interface {
	Generation() uint64
	Wait(ctx context.Context) error
}

// Config of a Server. Zero values mean the defaults.
type Config struct {
	Targets           []Target      // the first is the default
	MaxSessions       int           // connected at once, per target; an eighth more may resume; default 4096
	MaxIdle           int           // broken sessions remembered, per target; default MaxSessions
	MaxOpening        int           // streams whose Open is being read at once; others wait; default 256
	MaxStreams        int           // streams of one connection; default 1024
	MaxConnections    int           // default 2 x MaxSessions
	MaxPassesPerToken float64       // bound on run-ahead for sessions that do not ask; default 1
	Draft             Draft         // what the cloud itself proposes; default off
	Window            int           // nodes in flight per session; default speculative.DefaultWindow
	Credit            int           // tokens beyond the edge's Ack; default speculative.DefaultCredit
	StepPositions     int           // rows of one step; default 512
	StepSequences     int           // sessions of one step, at least 2; default 256
	FairWait          time.Duration // a ready session that waited this long goes first; default 500 ms
	Pace              float64       // so does one that got fewer tokens a second than this; default 8, negative: no pace
	IdleTTL           time.Duration // a broken session is remembered this long; default 60 s
	Prefixes          int           // logs of finished sessions kept for the next turn, per target; default 1024, negative: none
	PrefixTokens      int           // tokens of all of them; default 4 million
	PrefixTTL         time.Duration // they are kept this long; default 10 min
	StallTimeout      time.Duration // a session is broken off that acknowledges nothing for this long; default 2 min
	MaxContext        int           // tokens of the longest prompt of a target that comes later; default 262,144
	OpenTimeout       time.Duration // a stream must say Open within; default 10 s
	// Identify says who calls, or why it is refused (a status, or an error that becomes UNAUTHENTICATED);
	// sessions and prefixes are of one tenant. nil: everybody is of the same one.
	Identify func(ctx context.Context) (Peer, error)
	Recheck  time.Duration    // streams of peers that are not valid any more end within this time; default 5 s
	Quotas   map[string]Quota // of tenants by name; AnyTenant: of all others
	Audit    func(Event)      // is told who used what, from many goroutines; nil: nobody is
	// Weights of tenants by name, where steps have no place for all; 1 unless set.
	Weights map[string]float64
	Logger  *slog.Logger
	Metrics *Metrics
	Tracing *telemetry.Tracing // nil: none

	grammars *grammar.Store // of constraints that sessions ask for
	// guess takes the place of Draft's source, for tests.
	guess  func(log, path []speculative.Token) (speculative.Choice, bool)
	quotas *quotas
}

func (c *Config) defaults() error {
	if err := checkTargets(c.Targets); err != nil {
		return err
	}
	set(&c.MaxSessions, 4096)
	set(&c.MaxIdle, c.MaxSessions)
	set(&c.MaxOpening, 256)
	set(&c.MaxStreams, 1024)
	set(&c.MaxConnections, 2*c.MaxSessions)
	set(&c.MaxPassesPerToken, 1)
	set(&c.Window, speculative.DefaultWindow)
	set(&c.Credit, speculative.DefaultCredit)
	set(&c.StepPositions, 512)
	set(&c.StepSequences, 256)
	c.StepSequences = max(2, c.StepSequences)
	set(&c.FairWait, 500*time.Millisecond)
	if c.Pace == 0 {
		c.Pace = defaultPace
	}
	set(&c.IdleTTL, time.Minute)
	if c.Prefixes == 0 {
		c.Prefixes = 1024
	}
	set(&c.PrefixTokens, 4<<20)
	set(&c.PrefixTTL, 10*time.Minute)
	set(&c.StallTimeout, 2*time.Minute)
	set(&c.MaxContext, 1<<18)
	set(&c.OpenTimeout, 10*time.Second)
	set(&c.Recheck, defaultRecheck)
	c.grammars, c.quotas = grammar.NewStore(), newQuotas(c.Quotas)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return nil
}

func set[T int | float64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// defaultPace is faster than most people read.
const defaultPace = 8

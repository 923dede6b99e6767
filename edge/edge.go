// Package edge is the side of the user: it lets a small draft model propose what a large model in
// the cloud then confirms or corrects, and streams the answer. What to draft, to send and to trust
// is decided by package speculative; this package moves messages, runs the draft and copes with a
// link, a cloud and a draft that come and go.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/drafter/suffix"
	"github.com/outrider-llm/outrider/edge/privacy"
	"github.com/outrider-llm/outrider/edge/reach"
	"github.com/outrider-llm/outrider/edge/router"
	"github.com/outrider-llm/outrider/edge/sensors"
	"github.com/outrider-llm/outrider/grammar"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Config of an Edge. Zero values mean the defaults.
type Config struct {
	Draft      backend.Model        // nil: the target works alone. It stays the caller's
	Tokenizer  *tokenizer.Tokenizer // nil: prompts come in tokens, answers have no text
	Vocabulary string               // fingerprint; default: the tokenizer's, else the draft's
	Cloud      string               // host:port
	Model      string               // name of the target; empty: the cloud's default
	// Learn the target's tokenizer from the cloud. Tokenizer is then the draft's: what to begin with
	// while no cloud is in reach, and what tells whether the draft fits.
	Learn bool
	Cache string // folder that keeps the tokenizers of targets; empty: none
	// Chat puts a conversation into tokens; default: ChatPrompt.
	Chat func(*tokenizer.Tokenizer, chat.Conversation) ([]Token, error)
	Dial []grpc.DialOption // credentials and the like; default: plain text

	Mode          Mode                // of requests that ask for none; default: ModeCooperative
	Router        *router.Router      // decides in ModeAuto; nil: by the compiled-in policy
	Prices        Prices              // of the cloud's work
	Ledger        *Ledger             // keeps the totals; nil: a new one
	Sensors       *sensors.Sensors    // of the device; nil: nothing is known of it
	Record        func(router.Record) // takes what training needs of each answer, from several goroutines; nil: nothing is recorded
	Fallback      Fallback            // default: FallbackFail
	FallbackAfter time.Duration       // no cloud for this long: the fallback; default 10 s, FallbackDraft 3 s
	LinkTimeout   time.Duration       // a link that is silent for this long is given up; default 4 s
	RunAhead      float64             // target passes per committed token at most; 0: the cloud's default

	Depth   int     // 0: adaptive, n: at most n tokens beyond the commits, negative: never draft
	MinPath float64 // draft while the path probability is at least this; 0: the core's default
	Gap     time.Duration
	Thrifty bool // a third of the bytes up for a twentieth of the time: proposals go once per step of the target
	// Branches also proposes the draft's second choices.
	Branches bool
	// NoTranslate refuses a draft whose tokens are not the target's; otherwise it drafts text, which is
	// put into the target's tokens.
	NoTranslate bool
	Rule        speculative.Rule      // of requests that name none; zero: coupled
	Objective   speculative.Objective // of requests that name none; zero: latency
	Lookup      Lookup                // proposals from the session's own text; default: LookupAuto
	Suffix      *suffix.Store         // proposals from earlier answers, which it learns; nil: none

	Privacy  Privacy           // what becomes of personal data; default: PrivacyOff
	Detector *privacy.Detector // finds it; default: every kind but names

	// Conversations are the finished generations that are remembered, so that a next turn sends and
	// runs only what is new; default 64, negative: none.
	Conversations int

	Logger  *slog.Logger
	Metrics *Metrics
	Tracing *telemetry.Tracing // nil: none
	// LogPrompts also logs what people ask and are told; without it no such text is logged.
	LogPrompts bool
}

func (c *Config) defaults() error {
	if c.Cloud == "" {
		return errors.New("the edge needs the address of a cloud, host:port")
	}
	if c.Tokenizer != nil {
		if c.Vocabulary == "" {
			c.Vocabulary = c.Tokenizer.Fingerprint()
		}
		if c.Vocabulary != c.Tokenizer.Fingerprint() {
			return fmt.Errorf("%w: the tokenizer's is %s, the configured one %s", ErrVocabulary, c.Tokenizer.Fingerprint(), c.Vocabulary)
		}
	}
	if c.Draft != nil {
		i := c.Draft.Info()
		if c.Vocabulary == "" {
			c.Vocabulary = i.Vocabulary
		}
		if i.Vocabulary != c.Vocabulary {
			return fmt.Errorf("%w: the draft %s has %s, the tokenizer %s: use a draft that was made for the target",
				ErrVocabulary, i.Name, i.Vocabulary, c.Vocabulary)
		}
	}
	if c.Chat == nil {
		c.Chat = ChatPrompt
	}
	if c.Fallback == FallbackDefault {
		c.Fallback = FallbackFail
	}
	if c.Router == nil {
		p, err := router.Default()
		if err != nil {
			return err
		}
		c.Router = router.New(p, nil)
	}
	if c.Ledger == nil {
		c.Ledger = NewLedger(c.Sensors)
	}
	if c.Rule.Kind == speculative.RuleDefault {
		c.Rule.Kind = speculative.Coupled
	}
	if err := errors.Join(c.Rule.Validate(), c.Objective.Validate()); err != nil {
		return err
	}
	if c.Mode == ModeDefault {
		c.Mode = ModeCooperative
	}
	if c.Mode == ModeOnlyOnDevice && c.Draft == nil {
		return errors.New("mode only_on_device needs a draft model: name one, or use another mode")
	}
	if c.Fallback == FallbackDraft && c.Draft == nil {
		return errors.New("fallback draft needs a draft model: name one, or use fallback fail or wait")
	}
	if !(c.RunAhead >= 0 && c.RunAhead <= 1) {
		return fmt.Errorf("run-ahead is %g, must be between 0 and 1", c.RunAhead)
	}
	if c.Conversations == 0 {
		c.Conversations = defaultConversations
	}
	if c.LinkTimeout <= 0 {
		c.LinkTimeout = 4 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c.privacy()
}

// Edge serves generations. Its methods are safe for concurrent use.
type Edge struct {
	c        Config
	link     *uplink
	learner  *learner
	grammars *grammar.Store

	conversations *conversations
	seen          seen

	ctx    context.Context // of all requests
	cancel context.CancelCauseFunc
	hard   context.Context // of what must outlive a request to clean up after it
	kill   context.CancelFunc
	seq    *atomic.Uint64 // of the draft's sequences; shared by all that may use the same draft
	wg     sync.WaitGroup // sessions and drafters
	after  succession

	mu        sync.Mutex
	active    int // generations
	succeeded bool
	idle      chan struct{} // closed once it is succeeded and has no generation
	closed    bool
}

// New makes an Edge. It does not wait for the cloud. Close it after use.
func New(c Config) (*Edge, error) { return newEdge(c, &atomic.Uint64{}) }

func newEdge(c Config, seq *atomic.Uint64) (*Edge, error) {
	if err := c.defaults(); err != nil {
		return nil, err
	}
	e := &Edge{c: c, seq: seq, idle: make(chan struct{}), grammars: grammar.NewStore()}
	e.conversations = newConversations(&e.c)
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.hard, e.kill = context.WithCancel(context.Background())
	var err error
	if e.link, err = newUplink(e.hard, &e.c); err != nil {
		e.kill()
		e.cancel(nil)
		return nil, err
	}
	e.learner = newLearner(e)
	e.link.told = e.learner.told
	if e.c.Learn { // so that the first request finds it known
		e.wg.Go(e.learner.begin)
	}
	return e, nil
}

// closeGrace is how long Close lets calls of the draft end by themselves.
const closeGrace = 5 * time.Second

// shutdown is Close for this configuration alone.
func (e *Edge) shutdown() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel(ErrClosed)
	t := time.AfterFunc(closeGrace, e.kill)
	defer t.Stop()
	e.wg.Wait()
	for e.spareRows() {
	}
	e.link.close(e.kill)
	return nil
}

// Status says which models work together and what is in force.
type Status struct {
	Draft         string // empty: none
	DraftNumerics string
	Targets       []*outriderv1.TargetInfo // as the cloud last told
	Model         string                   // what requests that name none get; empty: the first target
	Cloud         string
	RTT           time.Duration // to the cloud, 0: not measured
	Fallback      Fallback      // what happens with no cloud in reach
	Breaker       reach.State   // of the way to the cloud
	Pressure      float64       // share of the work that the cloud is to be spared
	Note          string        // what does not work as configured, and why
}

// statusTimeout bounds asking the cloud.
const statusTimeout = 2 * time.Second

// Status asks the cloud what it serves; a cloud out of reach is told in the note.
func (e *Edge) Status(ctx context.Context) (s Status, _ error) {
	e = e.current()
	s = Status{Cloud: e.c.Cloud, Model: e.c.Model, Fallback: e.c.Fallback}
	defer func() { s.Breaker, s.Pressure = e.link.gate.state(), e.link.gate.press(nil) }() // asking it tells
	switch {
	case e.c.Draft == nil && e.c.Lookup == LookupAlways:
		s.Note = "no draft is configured: only what the text repeats is proposed"
	case e.c.Draft == nil:
		s.Note = "no draft is configured: the target works alone"
	default:
		i := e.c.Draft.Info()
		s.Draft, s.DraftNumerics = i.Name, i.Numerics
		if r, ok := e.c.Draft.(interface{ Running() bool }); ok && !r.Running() {
			s.Note = "the draft's plugin is restarting"
		} else if e.c.Depth < 0 {
			s.Note = "drafting is switched off (depth below 0)"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	e.link.mu.Lock()
	conn := e.link.conn
	e.link.mu.Unlock()
	begin := time.Now()
	targets, err := e.link.list(ctx, conn)
	if err != nil {
		s.Note = join(s.Note, fmt.Sprintf("%s: %s: %s", ErrNoCloud, e.c.Cloud, reason(err)))
		return s, nil
	}
	s.Targets = targets
	if s.RTT = time.Duration(e.link.rtt.Load()); s.RTT == 0 {
		s.RTT = time.Since(begin)
	}
	known := e.learner.of(e.c.Model)
	if known != nil && known.unfit != nil {
		s.Note = join(s.Note, known.unfit.Error())
	} else if known != nil && known.note != "" {
		s.Note = join(s.Note, known.note)
	}
	for _, t := range targets {
		if e.c.Model == "" || t.GetName() == e.c.Model {
			s.Note = join(s.Note, e.mismatch(t))
		}
		if e.c.Model == "" {
			break // the first is the default
		}
	}
	return s, nil
}

// Tokenizer returns the tokenizer of the target that a request for a model would get, nil when there
// is none. It waits for the cloud as such a request would.
func (e *Edge) Tokenizer(ctx context.Context, model string) (*tokenizer.Tokenizer, error) {
	e = e.current()
	v, err := e.learn(ctx, &Request{Model: model, NoDraft: true})
	if err != nil {
		return nil, err
	}
	return v.tok, nil
}

// mismatch says why the target does not work with this edge now, empty when it does.
func (e *Edge) mismatch(t *outriderv1.TargetInfo) string {
	if why := pending(t); why != "" {
		return why
	}
	if !e.c.Learn && e.c.Vocabulary != "" && t.GetVocabulary() != e.c.Vocabulary {
		return fmt.Sprintf("target %s has another vocabulary: use a draft that was made for it", t.GetName())
	}
	return ""
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

package edge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// The test binary is its own plugin.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		backend.Serve(reference.Load)
		return
	}
	goleak.VerifyTestMain(m)
}

// testCloud is a real cloud on loopback that can be stopped and started again at one address.
type testCloud struct {
	t      *testing.T
	config cloud.Config
	addr   string
	mu     sync.Mutex
	stop   func()
	server *cloud.Server
}

func (c *testCloud) start() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.addr == "" {
		c.addr = "127.0.0.1:0"
	}
	var l net.Listener
	var err error
	for range 50 { // the port may be in use for a moment
		if l, err = net.Listen("tcp", c.addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		c.t.Error(err)
		return
	}
	c.addr = l.Addr().String()
	s, err := cloud.NewServer(c.config)
	if err != nil {
		c.t.Error(err)
		return
	}
	gs := grpc.NewServer(s.Options()...)
	outriderv1.RegisterDecodeServiceServer(gs, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = gs.Serve(l) }()
	c.server = s
	c.stop = func() { gs.Stop(); s.Close(); <-done }
}

// kill stops the cloud at once, as kill -9 does: no farewell.
func (c *testCloud) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// rig is a cloud, a link and an edge.
type rig struct {
	t             *testing.T
	target, draft *toy
	cloud         *testCloud
	link          *link.Link
	edge          *Edge
	config        Config
}

type option func(*rig)

func newRig(t *testing.T, l link.Config, options ...option) *rig {
	t.Helper()
	r := &rig{t: t, target: newToy(0), draft: newToy(20)}
	r.cloud = &testCloud{t: t, config: cloud.Config{IdleTTL: 300 * time.Millisecond}}
	r.config = Config{LinkTimeout: time.Second, Vocabulary: "toy"}
	for _, o := range options {
		o(r)
	}
	if testing.Verbose() {
		r.config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	tg := cloud.Target{Name: "big", Model: r.target}
	if r.config.Tokenizer != nil {
		tg.Bytes = r.config.Tokenizer.Bytes
	}
	if r.cloud.config.Targets == nil {
		r.cloud.config.Targets = []cloud.Target{tg}
	}
	r.cloud.start()
	t.Cleanup(r.cloud.kill)
	l.Target = r.cloud.addr
	var err error
	if r.link, err = link.Listen(t.Context(), "127.0.0.1:0", l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.link.Close() })
	r.config.Cloud = r.link.Addr()
	if r.draft != nil && r.config.Draft == nil {
		r.config.Draft = r.draft
	}
	if r.edge, err = New(r.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.edge.Close() })
	return r
}

// collect gathers what a generation gives out, checking each event.
type collect struct {
	t       *testing.T
	tokens  []Token
	all     []GeneratedToken
	text    string
	pending int
	events  int
	at      func(n int) // called with the number of tokens so far
}

func (c *collect) emit(e Event) error {
	c.events++
	for _, t := range e.Tokens {
		c.tokens, c.all, c.text = append(c.tokens, t.ID), append(c.all, t), c.text+t.Text
	}
	c.text += e.Tail
	if e.Pending != "" {
		c.pending++
	}
	if c.at != nil {
		c.at(len(c.tokens))
	}
	return nil
}

func prompt(seed, n int) []Token {
	p := make([]Token, n)
	for i := range p {
		p[i] = Token(1 + (seed*31+i*17)%250)
	}
	return p
}

// generate runs one request with a generous limit and compares it with target-only output.
func (r *rig) generate(req Request, at func(int)) (*collect, Summary) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	c := &collect{t: r.t, at: at}
	s, err := r.edge.Generate(ctx, req, c.emit)
	if err != nil {
		r.t.Errorf("after %d tokens: %v", len(c.tokens), err)
	}
	return c, s
}

func (r *rig) identical(req Request, c *collect) {
	r.t.Helper()
	if want := r.target.oracle(req.Params, req.Tokens, len(req.Tokens)+req.MaxTokens); !slices.Equal(c.tokens, want) {
		r.t.Errorf("seed %d: got %v, the target alone says %v", req.Params.Seed, c.tokens, want)
	}
}

// empty waits until neither model holds anything for a session.
func (r *rig) empty() {
	r.t.Helper()
	eventually(r.t, "both models' memory to be free", func() bool {
		r.cloud.mu.Lock()
		_, kept, _ := r.cloud.server.Prefixes() // of finished generations
		r.cloud.mu.Unlock()
		return r.target.held() <= kept && (r.draft == nil || r.draft.held() <= r.edge.conversations.held())
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("waited in vain for %s", what)
}

func request(seed, n int) Request {
	return Request{Tokens: prompt(seed, 10), MaxTokens: n, Params: speculative.Params{Seed: uint64(seed)}}
}

func wantError(t *testing.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error is %v, want one of %v", err, is)
	}
}

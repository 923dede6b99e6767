package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/simulate"
	"github.com/outrider-llm/outrider/bench/sweep"
	"github.com/outrider-llm/outrider/bench/trace"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/trust"
)

// The ways that `outrider bench wan` compares.
const (
	wayOutrider    = "outrider"
	wayThrifty     = "thrifty"
	wayPipelined   = "pipelined"
	waySynchronous = "synchronous"
	wayCloudOnly   = "cloud-only"
)

func wanWays() []string {
	return []string{wayOutrider, wayThrifty, wayPipelined, waySynchronous, wayCloudOnly}
}

const (
	wanPrompt   = 16                  // tokens
	wanLife     = 90 * 24 * time.Hour // of certificates that are gone with the run: no reminder to renew them
	wanSessions = 50                  // that the best depth of the synchronous loop is found on
)

func newTable(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
}

// wan is a cloud, a draft and what they were told.
type wan struct {
	f     wanFlags
	tmp   *scratch
	creds trust.ClientFiles
	cloud *server
	draft *timed
	log   *slog.Logger
}

// startWAN starts the cloud and the draft, and makes the certificates by which edge and cloud know each other.
func startWAN(ctx context.Context, f wanFlags, stderr io.Writer) (_ *wan, err error) {
	x := &wan{f: f, log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer func() {
		if err != nil {
			x.stop()
		}
	}()
	if x.tmp, err = newScratch(); err != nil {
		return nil, err
	}
	config, err := x.certify()
	if err != nil {
		return nil, err
	}
	x.cloud, err = startServer(ctx, x.tmp.dir, "cloud", "--config", config, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain", "1s", "--target", "mock",
		"--engine", "mock", "--option", "seed=7", "--option", "exact=true", "--option", "step="+f.step.String(), "--option", "position="+f.token.String())
	if err != nil {
		return nil, fmt.Errorf("the cloud does not start: %w", err)
	}
	host, err := ModelConfig{Model: "mock", Engine: "mock", Options: map[string]string{"seed": "7", "exact": "true", "step": f.draft.String(),
		"agreement": fmt.Sprint(f.agreement), "spread": fmt.Sprint(f.spread), "second": fmt.Sprint(f.second)}}.launch(ctx, "draft", x.log)
	if err != nil {
		return nil, err
	}
	x.draft = &timed{Host: host}
	return x, nil
}

// certify writes certificates and the cloud's configuration file, and returns the file.
func (x *wan) certify() (string, error) {
	dir := filepath.Join(x.tmp.dir, "certs")
	a, err := trust.Init(dir, "bench-wan", 2*wanLife, time.Now())
	if err != nil {
		return "", err
	}
	s, err := a.IssueServer("cloud", []string{"127.0.0.1"}, wanLife)
	if err != nil {
		return "", err
	}
	e, err := a.IssueEdge(trust.Identity{Tenant: "bench", Edge: "wan"}, wanLife)
	if err != nil {
		return "", err
	}
	x.creds = trust.ClientFiles{CA: a.CA(), Cert: e.Cert, Key: e.Key}
	file := filepath.Join(x.tmp.dir, "cloud.yaml")
	return file, os.WriteFile(file, fmt.Appendf(nil, "cloud:\n  tls: {cert: %q, key: %q, client_ca: %q}\n", s.Cert, s.Key, a.CA()), 0o600)
}

func (x *wan) stop() {
	if x.draft != nil {
		_ = x.draft.Close() // nothing is left to lose
	}
	if x.cloud != nil {
		x.cloud.stop()
	}
	if x.tmp != nil {
		x.tmp.remove()
	}
}

// wanLink is what stands on both sides of one link.
type wanLink struct {
	x     *wan
	c     link.Config
	edges map[string]*edge.Edge // by way
	conn  *grpc.ClientConn      // of the synchronous loop
	meter map[string]*metered
	depth int
	close []func() error
}

func (x *wan) open(ctx context.Context, c link.Config) (k *wanLink, err error) {
	k = &wanLink{x: x, c: c, edges: map[string]*edge.Edge{}, meter: map[string]*metered{}}
	defer func() {
		if err != nil {
			k.shut()
		}
	}()
	c.Target = x.cloud.addr()
	l, err := link.Listen(ctx, "127.0.0.1:0", c)
	if err != nil {
		return k, err
	}
	k.close = append(k.close, l.Close)
	for _, way := range wanWays() {
		inner, err := trust.NewClient(x.creds, x.log)
		if err != nil {
			return k, err
		}
		k.meter[way] = newMetered(inner)
		dial := grpc.WithTransportCredentials(k.meter[way])
		window := []grpc.DialOption{grpc.WithStaticStreamWindowSize(256 << 10), grpc.WithStaticConnWindowSize(1 << 20)} // as an edge has
		if way == waySynchronous {
			if k.conn, err = grpc.NewClient(l.Addr(), append(window, dial)...); err != nil {
				return k, err
			}
			k.close = append(k.close, k.conn.Close)
			continue
		}
		e, err := edge.New(edge.Config{Draft: x.draft, Cloud: l.Addr(), Logger: x.log, Dial: []grpc.DialOption{dial}, Branches: way != wayPipelined,
			RunAhead: map[bool]float64{true: 0.001, false: x.f.runAhead}[way == wayPipelined], Thrifty: way == wayThrifty})
		if err != nil {
			return k, err
		}
		k.edges[way] = e
		k.close = append(k.close, e.Close)
	}
	sync := x.f.simulated(c)
	sync.Strategy, sync.Sessions, sync.Spread = simulate.Synchronous, wanSessions, wanSessions*apart
	o, err := simulate.Run(ctx, sync)
	k.depth = o.Depth
	return k, err
}

func (k *wanLink) shut() {
	for _, f := range slices.Backward(k.close) {
		_ = f() // ends connections, nothing to report
	}
}

// wanTokens are a round's prompt.
func wanTokens(round int) []edge.Token {
	prompt := make([]edge.Token, wanPrompt)
	for i := range prompt {
		prompt[i] = edge.Token(1 + (round+2)%30*1000 + i)
	}
	return prompt
}

// wanRun is one generation.
type wanRun struct {
	log    []edge.Token
	total  time.Duration
	usage  speculative.Usage
	seen   int // tokens whose bytes were counted: those after the first event
	uplink int // payload of these
	bytes  traffic
}

func (k *wanLink) generate(ctx context.Context, way string, round int) (r wanRun, err error) {
	prompt := wanTokens(round)
	if way == waySynchronous {
		before := k.meter[way].read()
		p, err := sweep.Plain{Draft: k.x.draft, Vocabulary: k.x.draft.Info().Vocabulary, Sequence: backend.Sequence(1<<20 + round), Prompt: prompt,
			Tokens: k.x.f.tokens, Depth: k.depth}.Run(ctx, k.conn)
		return wanRun{log: p.Output, total: p.Total, usage: p.Usage, seen: len(p.Output), uplink: p.Uplink, bytes: k.meter[way].read().minus(before)}, err
	}
	before, paid := traffic{}, 0
	s, err := k.edges[way].Generate(ctx, edge.Request{Tokens: prompt, MaxTokens: k.x.f.tokens, IgnoreEnd: true, NoDraft: way == wayCloudOnly}, func(e edge.Event) error {
		if len(r.log) == 0 && len(e.Tokens) > 0 {
			before, paid = k.meter[way].read(), e.Progress.Uplink
			r.seen = -len(e.Tokens)
		}
		for _, t := range e.Tokens {
			r.log = append(r.log, t.ID)
		}
		return nil
	})
	r.total, r.usage, r.uplink = s.Total, s.Usage, s.Uplink-paid
	r.seen += len(r.log)
	r.bytes = k.meter[way].read().minus(before)
	return r, err
}

// recorded asks the draft what it chooses after each token of a log, and tells what of it holds.
func (k *wanLink) recorded(ctx context.Context, round int, prompt, log []edge.Token) (*trace.Set, error) {
	seg := backend.Segment{Sequence: backend.Sequence(1<<21 + round), Tokens: slices.Concat(prompt, log), From: len(prompt) - 1, Setup: &backend.Setup{PromptLength: len(prompt)}}
	out, err := k.x.draft.Forward(ctx, []backend.Segment{seg})
	if err == nil {
		err = out[0].Err
	}
	if err != nil {
		return nil, err
	}
	var s trace.Session
	for i, t := range log {
		c := out[0].Choices[i]
		o := byte(trace.Miss)
		switch t {
		case c.Token:
			o = trace.Hit
		case c.Second:
			o = trace.Second
		}
		s.Outcome += string(o)
		s.Confidence = append(s.Confidence, c.Confidence)
	}
	return &trace.Set{Sessions: []trace.Session{s}}, k.x.draft.Release(ctx, []backend.Sequence{seg.Sequence})
}

// simulate runs a round's session on the virtual clock, in each way; late is how much longer a target step
// and a drafted token really take.
func (k *wanLink) simulate(ctx context.Context, set *trace.Set, late [2]time.Duration) (map[string]time.Duration, error) {
	out := map[string]time.Duration{}
	for _, way := range wanWays() {
		c := k.x.f.simulated(k.c)
		c.Model.Trace = set
		c.Model.Target.Step += late[0]
		c.Model.Draft += late[1]
		switch way {
		case wayThrifty:
			c.Thrifty = true
		case wayPipelined:
			c.Strategy = simulate.Pipelined
		case wayCloudOnly:
			c.Strategy = simulate.CloudOnly
		case waySynchronous:
			c.Strategy, c.LoopDepth = simulate.Synchronous, k.depth
		}
		o, err := simulate.Run(ctx, c)
		if err != nil {
			return nil, err
		}
		out[way] = o.Sessions[0].Done - o.Sessions[0].Begun
	}
	return out, nil
}

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/edge/openai"
	"github.com/outrider-llm/outrider/edge/page"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

func newEdge() *cobra.Command {
	var draft, ahead string
	var flags serverFlags
	c := &cobra.Command{
		Use:   "edge",
		Short: "Draft beside the user for a target in the cloud",
		Long: `Draft beside the user for a target in the cloud. Programs on this device ("outrider generate",
"outrider chat") ask the edge; it drafts with a small model and the cloud confirms or corrects. A
draft with another vocabulary than the target drafts text (edge.translate). Without --draft the draft of the pair with this target is used,
or the embedded demo draft.

--draft takes a name from models in the configuration file, a name that "outrider models list"
shows, a GGUF file, or none. The target's tokenizer comes from the cloud and is kept in
edge.cache, so the edge needs no file of the target.

Chat apps and SDKs use the edge as they use OpenAI: base URL http://127.0.0.1:7780/v1, any key;
docs/api.md lists what it answers. A browser finds a page at http://127.0.0.1:7780.`,
		Example: `  outrider edge
  outrider edge --config edge.yaml --cloud gpu1:7600     # with edge.tls for a cloud elsewhere, see docs/security.md
  outrider edge --draft llama-68m-q8_0.gguf --fallback draft
  outrider edge --target big --draft small    # by name, see docs/configuration.md
  outrider edge --draft none                      # the target works alone
  outrider edge --draft none --lookup always      # no draft model, but what the text repeats is proposed
  outrider edge --http 0.0.0.0:7780 --keys keys   # for other machines; "outrider keys add NAME --file keys" makes a key`,
		Args:        noArgs,
		Annotations: map[string]string{reloads: "yes"},
		RunE: func(c *cobra.Command, _ []string) error {
			return flags.run(c, func(cfg *Config) error { return cfg.edgeFlags(draft, ahead, &flags.models) }, serveEdge)
		},
	}
	f := c.Flags()
	flags.add(f, "edge", edgeAddr, edgeAdminAddr, "the draft (edge.draft.engine)")
	f.String("http", edgeHTTPAddr, "HTTP address of the OpenAI API and the page, empty: none (edge.http)")
	f.String("keys", "", "file of API keys, see outrider keys; needed where other machines reach --http (edge.keys)")
	f.StringSlice("origins", nil, "origins of web pages that may call the API, or * (edge.origins)")
	f.Duration("drain", 0, "how long answers under way may go on after SIGTERM (edge.drain)")
	f.String("cloud", cloudAddr, "address of the cloud (edge.cloud)")
	f.String("target", "", "target's name; default: the pair's, or the cloud's first (edge.model)")
	f.String("model", "", "the same as --target (edge.model)")
	f.String("fallback", "wait", "with no cloud in reach: fail, wait or draft (edge.fallback)")
	f.Duration("fallback-after", 0, "how long the cloud may be out of reach before that (edge.fallback_after)")
	f.String("privacy", "off", "what becomes of requests with personal data: off, placeholders or on_device, see docs/privacy.md (edge.privacy.action)")
	f.String("mode", "cooperative", "where requests that ask for nothing else may be answered, see docs/routing.md (edge.mode)")
	f.Int("depth", 0, "tokens to draft beyond the committed text; 0: adaptive (edge.depth)")
	f.String("objective", "latency", "what speculation is to save, for requests that say nothing: latency, cost, energy or balanced (edge.objective)")
	f.String("uplink", "fast", "fast, or thrifty: far fewer bytes to the cloud for at most 5 % more time (edge.uplink)")
	f.String("rule", "coupled", "when a drafted token is accepted, for requests that say nothing: "+speculative.RuleForms+" (edge.rule)")
	f.String("translate", "auto", "a draft with other tokens than the target: auto (drafts text) or off (is refused) (edge.translate)")
	f.String("lookup", "auto", "proposals from what the text repeats: auto, off, or always: also without a draft (edge.lookup)")
	f.String("cache", "", "folder that keeps the tokenizers of targets, or none; default: in the user's cache (edge.cache)")
	f.Int("conversations", 64, "finished generations remembered for the next turn; 0: none (edge.conversations)")
	f.Bool("insecure", false, "serve other machines without keys, and send to a cloud without TLS (edge.insecure)")
	bind(f, map[string]string{"insecure": "edge.insecure", "conversations": "edge.conversations", "cache": "edge.cache", "http": "edge.http", "keys": "edge.keys", "origins": "edge.origins", "drain": "edge.drain", "cloud": "edge.cloud", "model": "edge.model", "target": "edge.model",
		"mode": "edge.mode", "privacy": "edge.privacy.action", "fallback": "edge.fallback", "fallback-after": "edge.fallback_after", "depth": "edge.depth", "uplink": "edge.uplink", "translate": "edge.translate", "rule": "edge.rule", "objective": "edge.objective", "lookup": "edge.lookup"})
	f.StringVar(&draft, "draft", "", "name, GGUF file or embedded model, or none (edge.draft)")
	f.StringVar(&ahead, "run-ahead", "", "on, off, default, or target passes per token at most (edge.run_ahead)")
	return c
}

// edgeFlags puts in what only flags can say, and what names stand for.
func (c *Config) edgeFlags(draft, ahead string, models *modelFlags) error {
	if err := errors.Join(c.addressErrors()...); err != nil {
		return err
	}
	if draft != "" {
		c.Edge.Draft = ModelConfig{Model: draft}
	}
	c.Edge.Model, c.Edge.Draft = c.drafting()
	models.apply(&c.Edge.Draft)
	if ahead != "" {
		v, err := parseRunAhead(ahead)
		if err != nil {
			return err
		}
		c.Edge.RunAhead = v
	}
	return c.Edge.Draft.resolve(c.Models)
}

// serveEdge launches the draft and serves until ctx is done.
func serveEdge(ctx context.Context, run *serverRun) error {
	c, log := run.cfg.Edge, run.log
	var keys *openai.Keys
	var err error
	if c.Keys != "" {
		if keys, err = openai.OpenKeys(c.Keys); err != nil {
			return err
		}
	}
	lis, err := c.open(ctx)
	defer lis.close()
	if err != nil {
		return err
	}
	senses, err := run.cfg.Perception.launch(ctx, log)
	if err != nil {
		return err
	}
	defer senses.Close() //nolint:errcheck // it never fails
	reg := telemetry.NewRegistry()
	r, err := newEdgeRun(ctx, run, edge.NewMetrics(reg), telemetry.RegisterBuild(reg))
	if err != nil {
		return err
	}
	defer r.close()
	r.ledger.Energy(reg)
	log.Info("edge is serving", "listen", addrOf(lis.grpc), "admin", addrOf(lis.admin), "http", addrOf(lis.web), "cloud", c.Cloud, "draft", c.Draft.label(),
		"fallback", c.Fallback)
	if err := writeAddresses(run.address, lis.grpc, lis.admin, lis.web); err != nil {
		return err
	}
	api := openai.Config{Keys: keys, Origins: c.Origins, Page: page.Handler(), Gatherer: reg, Logger: log}
	if senses != nil {
		api.Perception, api.MaxBody = senses, maxMediaBody
	}
	handler := openai.New(r.edge, api)
	g, ctx := errgroup.WithContext(ctx)
	if c.Totals != "" {
		g.Go(func() error {
			keepSaved(ctx, "the totals", func() error { return saveTotals(r.ledger, c.Totals) }, log)
			return nil
		})
	}
	if r.suffix != nil {
		g.Go(func() error {
			keepSaved(ctx, "learned drafts", r.suffix.Save, log)
			return nil
		})
	}
	g.Go(func() error {
		watchRouter(ctx, r.routing, log)
		return nil
	})
	g.Go(func() error {
		run.follow(ctx, r.apply)
		return nil
	})
	g.Go(func() error {
		return serveEdgeOn(ctx, r.edge, lis, run.tracing.Handler(handler), reg, c.Drain, run.tracing.ServerOptions())
	})
	return g.Wait()
}

// edgeListeners are where an edge listens; admin and web may be nil.
type edgeListeners struct{ grpc, admin, web net.Listener }

// open listens on all addresses; close the listeners also after an error.
func (c *EdgeConfig) open(ctx context.Context) (l edgeListeners, err error) {
	if l.grpc, err = listen(ctx, c.Listen, "edge.listen"); err != nil {
		return l, err
	}
	if c.Admin != "" {
		if l.admin, err = listen(ctx, c.Admin, "edge.admin"); err != nil {
			return l, err
		}
	}
	if c.HTTP == "" {
		return l, c.guarded(l)
	}
	if l.web, err = listen(ctx, c.HTTP, "edge.http"); err != nil {
		return l, err
	}
	return l, c.guarded(l)
}

func (l edgeListeners) close() {
	for _, x := range []net.Listener{l.grpc, l.admin, l.web} {
		if x != nil {
			_ = x.Close() // closed by then, unless something failed before
		}
	}
}

// serveEdgeOn serves programs until ctx is done. Answers over HTTP may then go on for as long as drain
// says; what is under way after that ends with an error.
func serveEdgeOn(ctx context.Context, e *edge.Edge, lis edgeListeners, api http.Handler, reg prometheus.Gatherer, drain time.Duration,
	options []grpc.ServerOption) error {
	gs := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(maxPrompt+1<<20))...)
	outriderv1.RegisterEdgeServiceServer(gs, edge.NewService(e))
	h := health.NewServer()
	healthv1.RegisterHealthServer(gs, h)
	g, over := errgroup.WithContext(ctx)
	g.Go(func() error { return gs.Serve(lis.grpc) })
	hs := &http.Server{Handler: cloud.AdminHandler(reg, func() error { return nil }), ReadHeaderTimeout: 5 * time.Second}
	ws := &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	serve := func(s *http.Server, l net.Listener) {
		if l == nil {
			return
		}
		g.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	serve(hs, lis.admin)
	serve(ws, lis.web)
	g.Go(func() error {
		<-over.Done()
		h.Shutdown()
		gs.Stop()
		drainStreams(ws, e, drain)
		return hs.Close()
	})
	return g.Wait()
}

// drainStreams lets the API's answers end: by themselves for a while, then with an error that says why.
func drainStreams(s *http.Server, e *edge.Edge, drain time.Duration) {
	wait := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return s.Shutdown(ctx)
	}
	if wait(drain) == nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Close() // ends generations
	}()
	_ = wait(2 * time.Second) // Close does what it could not
	_ = s.Close()
	<-ended
}

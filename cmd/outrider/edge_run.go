package main

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/drafter/suffix"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/edge/router"
	"github.com/outrider-llm/outrider/edge/sensors"
	"github.com/outrider-llm/outrider/speculative"
)

// edgeRun is the part of a running edge that a new configuration changes.
type edgeRun struct {
	run     *serverRun
	metrics *edge.Metrics
	loaded  func(engine string) // told of each draft that is there
	edge    *edge.Edge
	cfg     *Config // in force
	draft   *draftHost
	sensors *sensors.Sensors
	ledger  *edge.Ledger
	dial    []grpc.DialOption // what is shown to the cloud
	suffix  *suffix.Store     // of earlier answers; nil: none

	mu     sync.Mutex // over what the watcher of the routing files reads
	router *router.Router
	files  RouterConfig
}

// routing is what decides now in mode auto, and the files that it comes from.
func (r *edgeRun) routing() (*router.Router, RouterConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.router, r.files
}

// draftHost is a draft's plugin, closed when no configuration uses it that has generations.
type draftHost struct {
	host  *backend.Host // nil: no draft
	users atomic.Int32
}

func (d *draftHost) release() {
	if d.users.Add(-1) == 0 && d.host != nil {
		_ = d.host.Close() // the host logs what goes wrong
	}
}

// newEdgeRun launches the draft and makes the edge. Close it after use.
func newEdgeRun(ctx context.Context, run *serverRun, metrics *edge.Metrics, loaded func(string)) (*edgeRun, error) {
	r := &edgeRun{run: run, metrics: metrics, loaded: loaded, cfg: run.cfg, sensors: sensors.New(nil), router: router.New(nil, nil)}
	r.ledger = edge.NewLedger(r.sensors)
	r.suffix = openSuffix(run.cfg.Edge.Suffix, run.log)
	if err := openLedger(r.ledger, run.cfg.Edge.Totals); err != nil {
		return nil, err
	}
	var err error
	if r.dial, err = run.credentials(); err != nil {
		return nil, err
	}
	if err := run.cfg.Edge.plain(); err != nil {
		return nil, err
	}
	if r.draft, err = r.launch(ctx, run.cfg); err != nil {
		return nil, err
	}
	c, err := r.config(run.cfg, r.draft)
	if err == nil {
		r.edge, err = edge.New(c)
	}
	if err != nil {
		r.draft.release()
		return nil, err
	}
	return r, nil
}

func (r *edgeRun) close() {
	_ = r.edge.Close() // ends streams, nothing to report
	r.draft.release()
}

func (r *edgeRun) launch(ctx context.Context, c *Config) (*draftHost, error) {
	d, engine := &draftHost{}, "none"
	if m := c.Edge.Draft; m.Model != "none" {
		h, err := m.launch(ctx, "draft "+m.label(), r.run.log)
		if err != nil {
			return nil, err
		}
		d.host, engine = h, h.Info().Engine
	}
	d.users.Add(1)
	r.loaded(engine)
	return d, nil
}

// config is what the edge makes of the configuration.
func (r *edgeRun) config(c *Config, d *draftHost) (edge.Config, error) {
	e := &c.Edge
	dialled := *e
	dialled.TLS = r.run.cfg.Edge.TLS // that of the start counts until a restart
	if err := dialled.plain(); err != nil {
		return edge.Config{}, err
	}
	fallback, err := edge.ParseFallback(e.Fallback)
	if err != nil {
		return edge.Config{}, usagef("edge.fallback: %w", err)
	}
	mode, err := edge.ParseMode(e.Mode)
	if err != nil {
		return edge.Config{}, usagef("edge.mode: %w", err)
	}
	rule, err := speculative.ParseRule(e.Rule)
	if err != nil {
		return edge.Config{}, usagef("edge.rule: %w", err)
	}
	objective, err := speculative.ParseObjective(e.Objective)
	if err != nil {
		return edge.Config{}, usagef("edge.objective: %w", err)
	}
	look, err := edge.ParseLookup(e.Lookup)
	if err != nil {
		return edge.Config{}, usagef("edge.lookup: %w", err)
	}
	policy, model, err := e.Router.load()
	if err != nil {
		return edge.Config{}, err
	}
	private, detector, err := e.Privacy.load()
	if err != nil {
		return edge.Config{}, err
	}
	tok, learn, err := e.vocabulary()
	if err != nil {
		return edge.Config{}, err
	}
	out := edge.Config{Tokenizer: tok, Learn: learn, Cache: e.cache(r.run.log), Cloud: e.Cloud, Model: e.Model, Mode: mode, Fallback: fallback,
		FallbackAfter: e.FallbackAfter, RunAhead: float64(e.RunAhead), Depth: e.Depth, Branches: e.Branches, NoTranslate: e.Translate == "off",
		Thrifty: e.Uplink == "thrifty", Lookup: look, Suffix: r.suffix, Rule: rule, Objective: objective, Privacy: private, Detector: detector, Logger: r.run.log, Metrics: r.metrics, Tracing: r.run.tracing, Dial: slices.Concat(r.run.tracing.DialOptions(), tenantOption(e.Tenant), r.dial), LogPrompts: c.Log.Prompts,
		Conversations: orNone(e.Conversations)}
	if d.host != nil {
		out.Draft = d.host
		step, position, err := e.Draft.pace()
		if err != nil {
			return edge.Config{}, err
		}
		if step > 0 || position > 0 {
			out.Draft = backend.Paced(d.host, step, position)
		}
	}
	if e.Router.Record != "" {
		out.Record = (&recorder{path: e.Router.Record, log: r.run.log}).add
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files != e.Router { // what began under other files keeps them
		r.router, r.files = &router.Router{}, e.Router
	}
	r.router.Set(policy, model, e.Router.Share)
	out.Router, out.Sensors, out.Ledger, out.Prices = r.router, r.sensors, r.ledger, edge.Prices(c.Prices)
	return out, nil
}

// apply puts a new configuration in force for the generations that begin from now on.
func (r *edgeRun) apply(ctx context.Context, next *Config) error {
	if reflect.DeepEqual(next.Edge, r.cfg.Edge) && next.Prices == r.cfg.Prices && next.Log.Prompts == r.cfg.Log.Prompts {
		return nil
	}
	d := r.draft
	if reflect.DeepEqual(next.Edge.Draft, r.cfg.Edge.Draft) {
		d.users.Add(1)
	} else {
		var err error
		if d, err = r.launch(ctx, next); err != nil {
			return err
		}
	}
	c, err := r.config(next, d)
	if err == nil {
		err = r.edge.Reload(c, r.draft.release)
	}
	if err != nil {
		d.release()
		return err
	}
	r.draft, r.cfg = d, next
	r.run.log.Info("the edge goes on with", "cloud", c.Cloud, "draft", next.Edge.Draft.label(), "fallback", c.Fallback)
	return nil
}

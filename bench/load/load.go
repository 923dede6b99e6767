// Package load drives one cloud with many scripted sessions at once and measures what they cost it.
// A session's edge is a script: what the target says after its prompt is learnt first (the target's
// output does not depend on proposals), then proposed with a chosen rate of agreement, so that no
// draft model's work mixes into the figures. Each session's output is compared with its script.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Config of a run. Zero values mean the defaults.
type Config struct {
	Cloud       string            // host:port
	Admin       string            // base URL of the cloud's admin port; "": the cloud's side is not measured
	Dial        []grpc.DialOption // default: no TLS
	Model       string            // "": the cloud's default
	Sessions    int               // at once; default 100
	Connections int               // shared by the sessions; default one per 500 sessions
	Tokens      int               // generated per session; default 64
	Prompt      int               // tokens of each prompt; default 32
	Agreement   float64           // how often a proposed token is the target's; negative: nothing is proposed
	Depth       int               // tokens proposed beyond the committed ones; default 8
	Scripts     int               // different prompts; default 8
	Seed        uint64
	Tenants     []Tenant      // whose sessions they are, in turn by their numbers of sessions; default: nobody's
	Ramp        time.Duration // the sessions' starts are spread over this time
}

// Tenant has so many of the sessions.
type Tenant struct {
	Name     string
	Sessions int
}

// tenantOf is whose the i-th session is.
func (c *Config) tenantOf(i int) string {
	for _, t := range c.Tenants {
		if i < t.Sessions {
			return t.Name
		}
		i -= t.Sessions
	}
	return ""
}

func (c *Config) defaults() error {
	if c.Cloud == "" {
		return errors.New("load: no cloud address given")
	}
	if n := 0; len(c.Tenants) > 0 {
		for _, t := range c.Tenants {
			n += max(0, t.Sessions)
		}
		c.Sessions = n
	}
	set(&c.Sessions, 100)
	set(&c.Connections, (c.Sessions+499)/500)
	set(&c.Tokens, 64)
	set(&c.Prompt, 32)
	set(&c.Depth, 8)
	set(&c.Scripts, 8)
	c.Scripts = min(c.Scripts, c.Sessions)
	if c.Agreement > 1 {
		return fmt.Errorf("load: agreement is %g, must be at most 1", c.Agreement)
	}
	if c.Dial == nil {
		c.Dial = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	}
	return nil
}

func set(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// runner is one run.
type runner struct {
	c          Config
	clients    []outriderv1.DecodeServiceClient
	vocabulary string
	scripts    []*script
}

// Run opens all sessions, waits until they have ended and reports. The error says that nothing could
// be measured; sessions that failed are counted in the report.
func Run(ctx context.Context, c Config) (Report, error) {
	if err := c.defaults(); err != nil {
		return Report{}, err
	}
	r := &runner{c: c}
	w, err := watch(ctx, c.Admin) // before the first connection
	if err != nil {
		return Report{}, err
	}
	defer w.stop()
	hangUp, err := r.connect(ctx)
	defer hangUp()
	if err != nil {
		return Report{}, err
	}
	if err := r.learn(ctx); err != nil {
		return Report{}, err
	}
	if err := w.begin(ctx); err != nil {
		return Report{}, err
	}
	begin := time.Now()
	results := r.sessions(ctx)
	rep := c.report(results, time.Since(begin))
	p, err := w.end(ctx)
	if err != nil {
		return rep, err
	}
	hangUp()
	err = w.settle(ctx, &p, settleTime)
	rep.CPUMicrosPerToken = share(p.CPUSeconds*1e6, float64(rep.Tokens))
	rep.Schedule, rep.CloudCPU, rep.OwnCPU = p.schedule, p.CPUSeconds, p.own
	rep.Memory, rep.Heap, rep.Goroutines = p.Memory, p.Heap, p.Goroutines
	return rep, err
}

// connect dials and asks for the target's vocabulary. The function hangs up; calling it again does
// nothing.
func (r *runner) connect(ctx context.Context) (hangUp func(), err error) {
	var conns []*grpc.ClientConn
	hangUp = sync.OnceFunc(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	for range r.c.Connections {
		conn, err := grpc.NewClient(r.c.Cloud, r.c.Dial...)
		if err != nil {
			return hangUp, fmt.Errorf("load: cannot use %s: %w", r.c.Cloud, err)
		}
		conns = append(conns, conn)
		r.clients = append(r.clients, outriderv1.NewDecodeServiceClient(conn))
	}
	models, err := r.clients[0].ListModels(ctx, &outriderv1.ListModelsRequest{})
	if err != nil {
		return hangUp, fmt.Errorf("load: cannot reach the cloud at %s: %w", r.c.Cloud, err)
	}
	for _, m := range models.GetModels() {
		if m.GetName() == r.c.Model || r.c.Model == "" {
			r.vocabulary = m.GetVocabulary()
			return hangUp, nil
		}
	}
	return hangUp, fmt.Errorf("load: the cloud at %s has no model %q", r.c.Cloud, r.c.Model)
}

// learn finds out what the target says after each prompt.
func (r *runner) learn(ctx context.Context) error {
	errs := make([]error, r.c.Scripts)
	var wg sync.WaitGroup
	for i := range r.c.Scripts {
		rng := rand.New(rand.NewPCG(r.c.Seed, uint64(i)))
		s := &script{seed: rng.Uint64()}
		for range r.c.Prompt {
			s.prompt = append(s.prompt, 1+uint32(rng.IntN(63))) // ids that every vocabulary has
		}
		r.scripts = append(r.scripts, s)
		wg.Go(func() {
			e := r.newSession(i, s)
			e.agreement = -1
			e.run(ctx, r.clients[i%len(r.clients)])
			s.text, errs[i] = e.log[len(s.prompt):], e.err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("load: cannot learn what the target says: %w", err)
	}
	return nil
}

func (r *runner) sessions(ctx context.Context) []*session {
	all := make([]*session, r.c.Sessions)
	var wg sync.WaitGroup
	for i := range all {
		s := r.newSession(r.c.Scripts+i, r.scripts[i%len(r.scripts)])
		s.tenant = r.c.tenantOf(i)
		s.wait = time.Duration(i) * r.c.Ramp / time.Duration(len(all))
		all[i] = s
		wg.Go(func() { s.run(ctx, r.clients[i%len(r.clients)]) })
	}
	wg.Wait()
	return all
}

package sweep

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Config of a run.
type Config struct {
	Cloud  string        // address of a cloud with one target
	Draft  backend.Model // nil: variants that need it fail
	Target *tokenizer.Tokenizer
	Own    *tokenizer.Tokenizer // the draft's; nil as Target is for engines without text
	Fit    backend.Model        // the draft in the target's tokens; nil: Draft
	// Context holds prompt and answer of both models; longer prompts are cut.
	Context int

	Workload string
	Items    []workload.Item
	Variants []*Variant
	Tokens   int // per generation
	Repeats  int
	Seed     uint64
	Origin   Origin
	Version  string
	Chat     bool // prompts are put as questions to an assistant

	Store  *Store
	Step   func(done, all int)
	Logger *slog.Logger
}

// runner is a run under way. Its edges share one draft, each with sequences of its own.
type runner struct {
	c     Config
	links map[string]*link.Link
	edges map[string]*edge.Edge
}

// Cells counts the cells of a run, and those that the store lacks.
func (c *Config) Cells() (all, missing int) {
	for _, k := range c.plan() {
		all++
		if !c.done(k) {
			missing++
		}
	}
	return all, missing
}

// cell is what is measured at once: one generation, or one for each of its sessions.
type cell struct {
	v      *Variant
	repeat int
	first  int // item
}

// plan lists the cells: for each prompt all variants, beginning with another one each time.
func (c *Config) plan() (out []cell) {
	turn := 0
	for repeat := range c.Repeats {
		for i := range c.Items {
			for k := range c.Variants {
				v := c.Variants[(k+turn)%len(c.Variants)]
				if i%v.Sessions == 0 {
					out = append(out, cell{v, repeat, i})
				}
			}
			turn++
		}
	}
	return out
}

func (c *Config) done(k cell) bool {
	for slot := range k.v.Sessions {
		if !c.Store.Done[c.key(k, slot)] {
			return false
		}
	}
	return true
}

func (c *Config) item(k cell, slot int) workload.Item { return c.Items[(k.first+slot)%len(c.Items)] }

func (c *Config) seed(k cell, slot int) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, c.Seed, " ", c.item(k, slot).ID, " ", k.repeat)
	return h.Sum64() >> 16
}

func (c *Config) key(k cell, slot int) string {
	it := c.item(k, slot)
	return key(c.Workload, it.ID, it.Prompt, it.Messages, k.repeat, slot, k.v.Label(), c.Tokens, c.Seed, c.Chat, c.Origin.Pace,
		c.Origin.Target.Name, c.Origin.Target.Fingerprint, c.Origin.Draft.Name, c.Origin.Draft.Fingerprint)
}

// ErrFailed says that generations failed; they are in the store, and run again the next time.
var ErrFailed = errors.New("generations failed")

// Run measures what the store lacks.
func Run(ctx context.Context, c Config) error {
	r := &runner{c: c, links: map[string]*link.Link{}, edges: map[string]*edge.Edge{}}
	defer r.close()
	plan := c.plan()
	failed, last := 0, ""
	for i, k := range plan {
		if !c.done(k) {
			records, err := r.cell(ctx, k)
			if err != nil {
				return err
			}
			for _, x := range records {
				if x.Failure != "" {
					failed, last = failed+1, x.Failure
				}
			}
			if err := c.Store.Add(records); err != nil {
				return err
			}
		}
		if c.Step != nil {
			c.Step(i+1, len(plan))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d %w, the last one: %s", failed, ErrFailed, last)
	}
	return nil
}

func (r *runner) close() {
	for _, e := range r.edges {
		_ = e.Close() // ends streams, nothing to report
	}
	for _, l := range r.links {
		_ = l.Close() // its connections are gone by then
	}
}

// cell runs a cell's generations at the same time. What fails for other reasons than ctx is told in the
// record.
func (r *runner) cell(ctx context.Context, k cell) ([]Record, error) {
	run, err := r.way(ctx, k.v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.v.Label(), err)
	}
	out := make([]Record, k.v.Sessions)
	var g errgroup.Group
	for slot := range out {
		g.Go(func() error {
			x, job := r.record(k, slot)
			o, err := run(ctx, job)
			if err == nil && o.tokens == 0 {
				err = errors.New("no token came")
			}
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				x.Failure = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			o.fill(&x)
			out[slot] = x
			return nil
		})
	}
	return out, g.Wait()
}

// job is one generation.
type job struct {
	tokens   []edge.Token // the prompt
	expected string
	seed     uint64
	most     int // tokens to generate
	slot     int
}

// record begins a record and says what is to be generated for it.
func (r *runner) record(k cell, slot int) (Record, job) {
	it := r.c.item(k, slot)
	prompt, cut := r.c.prompt(it)
	j := job{tokens: prompt, seed: r.c.seed(k, slot), most: r.c.Tokens, slot: slot}
	if k.v.Expected {
		j.expected = it.Expected
	}
	x := Record{Format: Format, Key: r.c.key(k, slot), At: time.Now().UTC().Truncate(time.Second), Way: k.v.Way, Depth: k.v.Depth,
		Settings: map[string]string{}, RTT: ms(RTT(k.v.Link)), Workload: r.c.Workload, Task: it.Task, Prompt: it.ID, Cut: cut,
		Repeat: k.repeat, Seed: j.seed, PromptTokens: len(prompt), Origin: r.c.Origin, Version: r.c.Version}
	for _, s := range k.v.Settings {
		x.Settings[s.Name] = s.Value
	}
	return x, j
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// way returns what runs a variant's generations.
func (r *runner) way(ctx context.Context, v *Variant) (func(context.Context, job) (outcome, error), error) {
	addr := r.c.Cloud
	if v.Way != Colocated {
		l, err := r.link(ctx, v.Link)
		if err != nil {
			return nil, err
		}
		addr = l.Addr()
	}
	if v.Way == Synchronous || v.Way == Colocated {
		return r.loop(addr, v)
	}
	e, err := r.edge(ctx, addr, v)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j job) (outcome, error) { return generate(ctx, e, v, j) }, nil
}

func (r *runner) link(ctx context.Context, setting string) (*link.Link, error) {
	if l := r.links[setting]; l != nil {
		return l, nil
	}
	c, err := link.Parse(setting)
	if err != nil {
		return nil, err
	}
	c.Target, c.Seed = r.c.Cloud, r.c.Seed
	l, err := link.Listen(ctx, "127.0.0.1:0", c)
	if err == nil {
		r.links[setting] = l
	}
	return l, err
}

// edge returns the edge with a variant's configuration, warmed up.
func (r *runner) edge(ctx context.Context, addr string, v *Variant) (*edge.Edge, error) {
	c := v.Edge
	name := fmt.Sprintf("%s %+v %v", addr, c, v.Draft)
	if e := r.edges[name]; e != nil {
		return e, nil
	}
	c.Cloud, c.Tokenizer, c.Learn, c.Logger, c.Conversations = addr, r.c.Own, r.c.Own != nil, r.c.Logger, -1
	if r.c.Target == nil && r.c.Draft != nil {
		c.Vocabulary = r.c.Draft.Info().Vocabulary
	}
	if v.Draft {
		if r.c.Draft == nil {
			return nil, errors.New("there is no draft model: name one with --draft")
		}
		c.Draft = shifted{r.c.Draft, backend.Sequence(1+len(r.edges)) << 16}
	}
	e, err := edge.New(c)
	if err != nil {
		return nil, err
	}
	r.edges[name] = e
	warm := job{tokens: []edge.Token{1, 2, 3, 4}, most: 8}
	if r.c.Target != nil {
		warm.tokens, _ = r.c.prompt(workload.Item{Prompt: "Once upon a time"})
	}
	_, err = generate(ctx, e, &Variant{Request: edge.Request{}}, warm)
	return e, err
}

// shifted keeps an edge's sequences apart from those of others that use the same model.
type shifted struct {
	backend.Model
	by backend.Sequence
}

func (s shifted) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	own := make([]backend.Segment, len(batch))
	for i, x := range batch {
		own[i] = x
		own[i].Sequence += s.by
	}
	return s.Model.Forward(ctx, own)
}

func (s shifted) Draft(ctx context.Context, d backend.DraftRequest, emit func(choice) bool) error {
	d.Segment.Sequence += s.by
	return s.Model.Draft(ctx, d, emit)
}

func (s shifted) Release(ctx context.Context, all []backend.Sequence) error {
	own := make([]backend.Sequence, len(all))
	for i, q := range all {
		own[i] = q + s.by
	}
	return s.Model.Release(ctx, own)
}

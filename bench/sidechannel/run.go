package sidechannel

import (
	"context"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/shape"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Prompt is what sessions ask.
type Prompt struct {
	Text string
	Task string
}

// Config says what to measure. The models stay the caller's.
type Config struct {
	Target, Draft backend.Model
	Tokenizer     *tokenizer.Tokenizer
	Prompts       []Prompt
	Repeats       int // of each prompt, with a seed of its own
	Tokens        int // of each answer
	Temperature   float32
	Parallel      int // sessions at once
	Early         time.Duration
	Shapes        []shape.Shape
	Say           func(format string, a ...any) // progress
}

// Result is what one shape shows and costs.
type Result struct {
	Shape    string     `json:"shape"`
	Sessions int        `json:"sessions"`
	Whole    Accuracies `json:"prompt_whole"` // which prompt, by a whole session
	Early    Accuracies `json:"prompt_early"` // by its first moments, Config.Early
	Tasks    Accuracies `json:"task_whole"`   // which kind of prompt, of prompts that were not learnt
	Chance   float64    `json:"prompt_chance"`
	ByTask   float64    `json:"task_chance"`
	Up       float64    `json:"up_bytes_per_token"` // of TCP payload, all of the connection
	Down     float64    `json:"down_bytes_per_token"`
	Ms       float64    `json:"ms_per_token"` // median of the sessions
	First    float64    `json:"first_token_ms"`
	Same     bool       `json:"identical"` // to the answers of the first shape
}

// Run measures each shape. Every shape sees the same prompts, seeds and answers.
func Run(ctx context.Context, c Config) ([]Result, error) {
	srv, err := cloud.NewServer(cloud.Config{Targets: []cloud.Target{{Name: "target", Model: c.Target, Bytes: c.Tokenizer.Bytes}}})
	if err != nil {
		return nil, err
	}
	defer srv.Close()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	gs := grpc.NewServer(srv.Options()...)
	outriderv1.RegisterDecodeServiceServer(gs, srv)
	var wg sync.WaitGroup
	wg.Go(func() { _ = gs.Serve(l) }) // until it is stopped
	defer func() { gs.Stop(); wg.Wait() }()
	var out []Result
	var first [][]edge.Token
	for _, s := range c.Shapes {
		m := measurement{c: &c, shape: s, cloud: l.Addr().String()}
		if err := m.run(ctx); err != nil {
			return out, err
		}
		if first == nil {
			first = m.answers
		}
		r := m.result()
		r.Same = slices.EqualFunc(first, m.answers, slices.Equal[[]edge.Token])
		out = append(out, r)
		if c.Say != nil {
			c.Say("%s: %.0f %% of the prompts are told by whole sessions, %.0f %% early", r.Shape, 100*r.Whole.Best(), 100*r.Early.Best())
		}
	}
	return out, nil
}

// measurement is that of one shape. Sessions have their places in its slices.
type measurement struct {
	c       *Config
	shape   shape.Shape
	cloud   string
	traces  []Trace
	answers [][]edge.Token
	sums    []edge.Summary
}

func (m *measurement) run(ctx context.Context) error {
	tasks := map[string]int{}
	for _, p := range m.c.Prompts {
		if _, ok := tasks[p.Task]; !ok {
			tasks[p.Task] = len(tasks)
		}
	}
	n := len(m.c.Prompts) * m.c.Repeats
	m.traces, m.answers, m.sums = make([]Trace, n), make([][]edge.Token, n), make([]edge.Summary, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(m.c.Parallel)
	for i := range n {
		p := i % len(m.c.Prompts)
		m.traces[i] = Trace{Label: p, Round: i / len(m.c.Prompts), Task: tasks[m.c.Prompts[p].Task]}
		g.Go(func() error { return m.session(ctx, i) })
	}
	return g.Wait()
}

// session runs one over a connection of its own.
func (m *measurement) session(ctx context.Context, i int) error {
	t, err := Listen(ctx, m.cloud)
	if err != nil {
		return err
	}
	defer t.Close()
	e, err := edge.New(edge.Config{Draft: m.c.Draft, Tokenizer: m.c.Tokenizer, Cloud: t.Addr(), Branches: true, Shape: m.shape, Conversations: -1})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // nothing is left to lose
	r := edge.Request{Prompt: m.c.Prompts[m.traces[i].Label].Text, MaxTokens: m.c.Tokens, IgnoreEnd: true,
		Params: speculative.Params{Temperature: m.c.Temperature, Seed: uint64(i)}}
	m.sums[i], err = e.Generate(ctx, r, func(ev edge.Event) error {
		for _, k := range ev.Tokens {
			m.answers[i] = append(m.answers[i], k.ID)
		}
		return nil
	})
	m.traces[i].Packets = t.Packets()
	if err != nil {
		return fmt.Errorf("session %d: %w", i, err)
	}
	return nil
}

func (m *measurement) result() Result {
	r := Result{Shape: m.shape.String(), Sessions: len(m.traces), Chance: 1 / float64(len(m.c.Prompts))}
	tokens, up, down := 0, 0, 0
	var each, first []float64
	for i, t := range m.traces {
		for _, p := range t.Packets {
			if p.Down {
				down += p.Size
			} else {
				up += p.Size
			}
		}
		s := m.sums[i]
		tokens += s.Tokens
		each = append(each, float64((s.Total-s.FirstToken).Microseconds())/1e3/math.Max(1, float64(s.Tokens-1)))
		first = append(first, float64(s.FirstToken.Microseconds())/1e3)
	}
	r.Up, r.Down = float64(up)/float64(tokens), float64(down)/float64(tokens)
	r.Ms, r.First = median(each), median(first)
	byRound, byPrompt, task := make([]int, len(m.traces)), make([]int, len(m.traces)), map[int]int{}
	for i, t := range m.traces {
		byRound[i], byPrompt[i] = t.Round, t.Label
		task[t.Task]++
	}
	for _, n := range task { // the best guess without looking
		r.ByTask = max(r.ByTask, float64(n)/float64(len(m.traces)))
	}
	whole, early := m.samples(0, false), m.samples(m.c.Early, false)
	r.Whole, r.Early = crossValidate(whole, byRound, m.c.Repeats), crossValidate(early, byRound, m.c.Repeats)
	if len(task) > 1 {
		r.Tasks = crossValidate(m.samples(0, true), byPrompt, len(m.c.Prompts))
	}
	return r
}

func (m *measurement) samples(until time.Duration, task bool) []sample {
	var out []sample
	for _, t := range m.traces {
		s := sample{features(t.Packets, until), t.Label}
		if task {
			s.label = t.Task
		}
		out = append(out, s)
	}
	return out
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

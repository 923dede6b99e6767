package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/shapes"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

type losslessFlags struct {
	prompts      string
	target       string
	draft        string
	engine       string
	options      map[string]string
	n, tokens    int
	temperatures []float32
	cut          float64
	rtt          time.Duration
	link         linkFlag
	parallel     int
	asJSON       bool
}

func newLossless() *cobra.Command {
	var f losslessFlags
	c := &cobra.Command{
		Use:   "lossless",
		Short: "Compare edge and cloud together with the target alone, token by token",
		Long: `Generate from prompts with edge and cloud processes together (own speed, no pacing), cutting a
share of the streams in mid-generation, and compare every token with a third process in which
the target works alone, one token at a time. Ends with an error when any token differs.

On llama.cpp a row's logits depend in their last bits on the shape of the pass, so tokens that score
nearly the same may change places. There each first difference is looked into: the
target is asked again in passes of 1 to 16 rows, with the prompt in pieces, and with a neighbour. It ends with an error when one remains unexplained.`,
		Example: `  outrider bench lossless --n 20
  outrider bench lossless --engine llamacpp --n 200
  outrider bench lossless --prompts spec_bench.jsonl --n 200 --cut 0.05`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runLossless(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s := c.Flags()
	s.StringVar(&f.prompts, "prompts", "", "file of prompts, JSON lines or text; default: a few stories")
	engineFlags(s, &f.engine, &f.options)
	s.StringVar(&f.target, "target", models.TargetName, "GGUF file or embedded model")
	s.StringVar(&f.draft, "draft", models.DraftName, "GGUF file, embedded model, random (random weights) or none")
	s.IntVarP(&f.n, "n", "n", 20, "number of prompts")
	s.IntVar(&f.tokens, "max-tokens", 64, "tokens per prompt")
	s.Float32SliceVar(&f.temperatures, "temperatures", []float32{0, 0.7, 1}, "each prompt is run at each")
	s.Float64Var(&f.cut, "cut", 0.05, "share of generations during which the link is cut")
	s.DurationVar(&f.rtt, "rtt", 4*time.Millisecond, "round-trip time of the emulated link")
	s.Var(&f.link, "link", linkUsage)
	s.IntVar(&f.parallel, "parallel", 4, "generations at a time")
	s.BoolVar(&f.asJSON, "json", false, "print the result as JSON on the last line")
	return c
}

// losslessReport is the outcome of `outrider bench lossless`.
type losslessReport struct {
	Runs      int     `json:"runs"`
	Identical int     `json:"identical"`
	Cut       int     `json:"cut"`
	Resumed   int     `json:"resumed"`
	Tokens    int     `json:"tokens"`
	Seconds   float64 `json:"seconds"`
	Accepted  float64 `json:"acceptance_rate"`
	// Why the rest differs; the engine's fingerprint.
	Differ   []losslessDifference `json:"differ,omitempty"`
	Numerics string               `json:"numerics"`
}

// losslessDifference is the first token at which a generation parts from the target's own.
type losslessDifference struct {
	Prompt      string             `json:"prompt"`
	Temperature float32            `json:"temperature"`
	Seed        uint64             `json:"seed"`
	Position    int                `json:"position"` // among the generated tokens
	Want        backend.Token      `json:"want"`
	Got         backend.Token      `json:"got"`
	Fate        string             `json:"fate"`     // how it came
	Accepted    int                `json:"accepted"` // before it, at once: the pass had more rows than that
	Shapes      shapes.Explanation `json:"shapes"`
	Explained   bool               `json:"explained"`
}

// losslessRun is one prompt at one temperature.
type losslessRun struct {
	prompt      string
	temperature float32
	seed        uint64
	cutAt       int // cut the link after this many tokens; 0: not
}

// lossless is the state of the comparison.
type lossless struct {
	f      losslessFlags
	stack  *stack
	edge   *edgeClient
	alone  backend.Model
	tok    *tokenizer.Tokenizer
	stderr io.Writer

	mu     sync.Mutex
	report losslessReport
	fig    figures
}

func runLossless(ctx context.Context, f losslessFlags, w, stderr io.Writer) error {
	if f.n < 1 || f.tokens < 1 || f.parallel < 1 || !(f.cut >= 0 && f.cut <= 1) {
		return usagef("--n, --max-tokens and --parallel must be at least 1, --cut between 0 and 1")
	}
	prompts := workload.Stories(f.n)
	if f.prompts != "" {
		var err error
		if prompts, err = workload.Read(f.prompts, f.n); err != nil {
			return err
		}
	}
	l := &lossless{f: f, stderr: stderr}
	var err error
	args, err := engineArgs(f.engine, f.options)
	if err != nil {
		return err
	}
	if l.tok, err = readTokenizer(f.target); err != nil {
		return err
	}
	alone, err := ModelConfig{Model: f.target, Engine: f.engine, Options: f.options}.launch(ctx, "the target alone", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = alone.Close() }() // nothing is left to lose
	l.alone = alone
	if l.stack, err = startStack(ctx, stackConfig{rtt: f.rtt, link: f.link, draft: f.draft, edgeArgs: args,
		cloudArgs: append([]string{"--target", f.target}, args...)}); err != nil {
		return err
	}
	defer l.stack.stop()
	if l.edge, err = dialEdge(l.stack.edge.addr()); err != nil {
		return err
	}
	defer func() { _ = l.edge.Close() }() // nothing is left to lose
	begin := time.Now()
	if err := l.all(ctx, l.runs(prompts)); err != nil {
		return err
	}
	r := &l.report
	r.Seconds, r.Accepted, r.Tokens, r.Numerics = time.Since(begin).Seconds(), l.fig.AcceptanceRate, l.fig.Tokens, alone.Info().Numerics
	return r.print(w, f.asJSON)
}

// print writes the report; its error says what was not as it should be.
func (r *losslessReport) print(w io.Writer, asJSON bool) error {
	fmt.Fprintf(w, "%d of %d identical (%.1f %%); %d cut, %d streams resumed; %d tokens, acceptance %.2f, %.0f s\n",
		r.Identical, r.Runs, 100*float64(r.Identical)/float64(max(1, r.Runs)), r.Cut, r.Resumed, r.Tokens, r.Accepted, r.Seconds)
	widest, unexplained := 0.0, 0
	for _, d := range r.Differ {
		widest = max(widest, d.Shapes.Spread)
	}
	for i := range r.Differ {
		d, verdict := &r.Differ[i], "explained"
		// Asked again alone, the target may also give what edge and cloud gave: then it was the comparison that parted.
		between := d.Shapes.Alone.Second == d.Got || d.Shapes.Alone.Token == d.Got
		if !d.Explained && between && widest > 0 && d.Shapes.Alone.Gap <= widest {
			d.Explained, verdict = true, "near tie" // not by the shapes tried, but the engine moves other gaps that far
		}
		if !d.Explained {
			verdict = "UNEXPLAINED"
			unexplained++
		}
		fmt.Fprintf(w, "%s: temperature %g, seed %d, token %d: %d (%s after %d accepted at once) instead of %d; %s; prompt %.40q\n",
			verdict, d.Temperature, d.Seed, d.Position, d.Got, d.Fate, d.Accepted, d.Want, d.Shapes, d.Prompt)
	}
	if asJSON {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return err
		}
	}
	switch {
	case unexplained > 0:
		return fmt.Errorf("%d of %d generations differ from the target's, %d for no reason that the shape of passes gives", r.Runs-r.Identical, r.Runs, unexplained)
	case r.Identical != r.Runs:
		fmt.Fprintf(w, "the %d others part where two tokens score nearly the same: which one is first depends on the rows of the pass\n", r.Runs-r.Identical)
	}
	return nil
}

// runs lists the generations; which of them are cut, and where, is spread evenly.
func (l *lossless) runs(prompts []string) []losslessRun {
	var runs []losslessRun
	due := 0.5
	for i, p := range prompts {
		for j, t := range l.f.temperatures {
			r := losslessRun{prompt: l.fit(p), temperature: t, seed: uint64(i*len(l.f.temperatures) + j + 1)}
			if due += l.f.cut; due >= 1 {
				due--
				r.cutAt = 1 + (7*i+3)%max(1, l.f.tokens-1)
			}
			runs = append(runs, r)
		}
	}
	return runs
}

// fit cuts a prompt to what the context holds besides the tokens to generate.
func (l *lossless) fit(prompt string) string {
	limit := l.alone.Info().ContextLength - l.f.tokens - 1
	for n := limit; n > 0; n -= 8 {
		ids := l.tok.Encode(prompt, tokenizer.Options{AddBOS: l.tok.AddBOS()})
		if len(ids) <= limit {
			return prompt
		}
		prompt = l.tok.Decode(ids[:min(n, len(ids))])
	}
	return prompt
}

func (l *lossless) all(ctx context.Context, runs []losslessRun) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan losslessRun)
	var wg sync.WaitGroup
	for worker := range l.f.parallel {
		wg.Go(func() {
			for r := range next {
				if err := l.one(ctx, backend.Sequence(2*worker+1), r); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, r := range runs {
		select {
		case next <- r:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func (l *lossless) one(ctx context.Context, seq backend.Sequence, r losslessRun) error {
	req := &outriderv1.GenerateRequest{Input: &outriderv1.GenerateRequest_Prompt{Prompt: r.prompt}, IgnoreEnd: true,
		Sampling: &outriderv1.Sampling{Temperature: r.temperature, Seed: r.seed}, MaxTokens: uint32(l.f.tokens)}
	var got []backend.Token
	var how []outriderv1.Fate
	cut := r.cutAt
	sum, err := l.edge.generate(ctx, req, func(m *outriderv1.GenerateResponse) {
		for _, t := range m.GetTokens() {
			got, how = append(got, backend.Token(t.GetId())), append(how, t.GetFate())
		}
		if cut > 0 && len(got) >= cut {
			cut = 0
			l.stack.link.Cut()
		}
	})
	if err != nil {
		return fmt.Errorf("prompt %.40q: %w", r.prompt, err)
	}
	log := shapes.Log{Prompt: l.tok.Encode(r.prompt, tokenizer.Options{AddBOS: l.tok.AddBOS()}),
		Params: speculative.Params{Temperature: r.temperature, Seed: r.seed}}
	want, err := targetAlone(ctx, l.alone, seq, log.Prompt, log.Params, l.f.tokens)
	if err != nil {
		return err
	}
	var differ []losslessDifference
	if !slices.Equal(got, want) {
		d := losslessDifference{Prompt: r.prompt, Temperature: r.temperature, Seed: r.seed}
		if err := l.explain(ctx, seq, log, got, want, how, &d); err != nil {
			return err
		}
		differ = append(differ, d)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fig.add(sum)
	l.report.Runs++
	l.report.Resumed += int(sum.GetResumes())
	if r.cutAt > 0 {
		l.report.Cut++
	}
	l.report.Differ = append(l.report.Differ, differ...)
	l.report.Identical += 1 - len(differ)
	if isTerminal(l.stderr) {
		fmt.Fprintf(l.stderr, "\r%d generations, %d identical ", l.report.Runs, l.report.Identical)
	}
	return nil
}

// explain looks into the first difference of a generation.
func (l *lossless) explain(ctx context.Context, seq backend.Sequence, log shapes.Log, got, want []backend.Token,
	how []outriderv1.Fate, d *losslessDifference) error {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	d.Position, d.Fate = at, "missing"
	if at == len(got) || at == len(want) { // a length that differs has nothing to do with scores
		return nil
	}
	d.Got, d.Want, d.Fate = got[at], want[at], strings.ToLower(strings.TrimPrefix(how[at].String(), "FATE_"))
	for i := at - 1; i >= 0 && how[i] == outriderv1.Fate_FATE_ACCEPTED; i-- {
		d.Accepted++
	}
	log.Generated = want[:at]
	var err error
	d.Shapes, err = shapes.Explain(ctx, l.alone, seq, log)
	d.Explained = d.Shapes.Spread > 0 && d.Shapes.Explains(d.Got) // an exact engine has no excuse
	return err
}

// targetAlone decodes with the target one token at a time, as if there were no edge.
func targetAlone(ctx context.Context, m backend.Model, seq backend.Sequence, log []backend.Token, p speculative.Params, n int) ([]backend.Token, error) {
	setup := &backend.Setup{Params: p, PromptLength: len(log)}
	seg := backend.Segment{Sequence: seq, Tokens: log, From: len(log) - 1, Setup: setup}
	var out []backend.Token
	for len(out) < n {
		r, err := m.Forward(ctx, []backend.Segment{seg})
		if err != nil {
			return nil, err
		}
		if r[0].Err != nil {
			return nil, r[0].Err
		}
		t := r[0].Choices[0].Token
		seg = backend.Segment{Sequence: seq, Start: seg.Start + len(seg.Tokens), Tokens: []backend.Token{t}}
		out = append(out, t)
	}
	return out, m.Release(ctx, []backend.Sequence{seq})
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/pair"
	"github.com/outrider-llm/outrider/bench/sweep"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/drafter/translate"
	"github.com/outrider-llm/outrider/models"
)

type sweepFlags struct {
	workload, data, out         string
	n, tokens, repeats          int
	seed                        uint64
	grid                        map[string]*string
	baselines                   []string
	target, draft, engine, pace string
	options, mock               map[string]string
	chat                        bool
}

func newSweep() *cobra.Command {
	f := sweepFlags{grid: map[string]*string{}}
	c := &cobra.Command{
		Use:   "sweep --out FILE",
		Short: "Measure prompts over a grid of settings, with baselines, for a report",
		Long: `Run every prompt of a workload with every combination of settings, and with the baselines, one after
the other in turns, with a cloud process, the two model plugins, an edge in this process and emulated
links. Each generation becomes a line of --out (JSON), which "outrider bench report" makes tables and
plots of. Given the same --out again it goes on where it was stopped: what is finished is not run
again.

Workloads: ` + strings.Join(workload.Names(), ", ") + ` (files looked for in --data), or a
file: JSON lines with "prompt" or OpenAI "messages", or text, one prompt a line; .gz is unpacked.
Settings take lists: --temperature 0,0.7 --link "rtt=10ms,rtt=50ms".
Baselines: cloud-only (the target streams over the link), synchronous=K (draft K, send, wait) and
co-located=K (the same without the link, one round trip added for the client), or none.`,
		Example: `  outrider bench sweep --out runs/stories.jsonl
  outrider bench sweep --workload spec_bench --data prompts --n 24 --temperature 0,0.7,1 --drafter model,model+lookup \
      --link rtt=10ms,rtt=50ms --out runs/spec.jsonl
  outrider bench sweep --engine mock --mock agreement=0.6 --depth 0,4,8 --out runs/mock.jsonl
  outrider bench report runs/spec.jsonl --html report.html`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runSweep(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f.flags(c.Flags())
	return c
}

func (f *sweepFlags) flags(s *pflag.FlagSet) {
	s.StringVar(&f.out, "out", "", "file of records to write, or to go on with")
	s.StringVar(&f.workload, "workload", "stories", "name or file")
	s.StringVar(&f.data, "data", ".", "folder of the known workloads' files")
	s.IntVarP(&f.n, "n", "n", 12, "prompts, shared among the workload's tasks; 0: all")
	s.IntVar(&f.tokens, "max-tokens", 64, "tokens of each generation; none ends sooner")
	s.IntVar(&f.repeats, "repeats", 1, "generations of each prompt with each setting, with other seeds")
	s.Uint64Var(&f.seed, "seed", 1, "of all sampling")
	for _, d := range sweep.Describe() {
		f.grid[d[0]] = s.String(d[0], "", fmt.Sprintf("%s (default %s)", d[2], d[1]))
	}
	s.StringSliceVar(&f.baselines, "baseline", []string{"cloud-only", "synchronous=4", "co-located=4"}, "to measure in the same run, or none")
	s.StringVar(&f.target, "target", models.TargetName, "GGUF file or embedded model")
	s.StringVar(&f.draft, "draft", models.DraftName, "GGUF file, embedded model or none")
	engineFlags(s, &f.engine, &f.options)
	s.StringVar(&f.pace, "pace", demoPace, "emulated cost of a target step and of a scored token, or off")
	s.StringToStringVar(&f.mock, "mock", nil, "KEY=VALUE of --engine mock: step, position, draft, agreement, spread, second")
	s.BoolVar(&f.chat, "chat", false, "put each prompt to the model's chat template")
}

func runSweep(ctx context.Context, f sweepFlags, w, stderr io.Writer) (err error) {
	if f.out == "" || f.n < 0 || f.tokens < 2 || f.repeats < 1 {
		return usagef("name a file with --out; --n must not be negative, --max-tokens at least 2, --repeats at least 1")
	}
	grid := sweep.Grid{}
	for name, list := range f.grid {
		if *list != "" {
			grid[name] = sweep.Split(*list)
		}
	}
	if slices.Equal(f.baselines, []string{"none"}) {
		f.baselines = nil
	}
	variants, err := grid.Variants(f.baselines)
	if err != nil {
		return usageError{err}
	}
	items, err := workload.Load(f.workload, f.data, f.n)
	if err != nil {
		return usageError{err}
	}
	if dir := filepath.Dir(f.out); dir != "." {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	store, err := sweep.OpenStore(f.out)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, store.Close()) }()
	c := sweep.Config{Workload: workloadName(f.workload), Items: items, Variants: variants, Tokens: f.tokens, Repeats: f.repeats, Seed: f.seed,
		Chat: f.chat, Store: store, Version: version(), Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
	stop, err := f.start(ctx, &c)
	if err != nil {
		return err
	}
	defer stop()
	all, missing := c.Cells()
	fmt.Fprintf(w, "%d variants, %d prompts of %s: %d cells, %d of them to measure\n", len(variants), len(items), c.Workload, all, missing)
	if store.Torn {
		fmt.Fprintf(w, "the last line of %s had been torn; it is measured again\n", f.out)
	}
	show := newSweepProgress(stderr, all, missing)
	c.Step = show.step
	err = sweep.Run(ctx, c)
	show.end()
	if err == nil {
		fmt.Fprintf(w, "all is in %s: see `outrider bench report %s --html report.html`\n", f.out, f.out)
	}
	return err
}

func workloadName(s string) string {
	if slices.Contains(workload.Names(), s) {
		return s
	}
	return filepath.Base(s)
}

// start launches the cloud and the draft.
func (f *sweepFlags) start(ctx context.Context, c *sweep.Config) (stop func(), err error) {
	if f.engine == "mock" {
		if f.pace != demoPace {
			return nil, usagef("--pace %s is for models: say --mock step=...,position=...", f.pace)
		}
		return f.startMock(ctx, c)
	}
	args, err := engineArgs(f.engine, f.options)
	if err != nil {
		return nil, err
	}
	if _, _, err := (ModelConfig{Pace: f.pace}).pace(); err != nil {
		return nil, err
	}
	c.Origin = sweep.Origin{Target: sweep.Model{Name: modelName(f.target), Engine: firstWord(f.engine, "reference"), Fingerprint: fingerprint(f.target)},
		Pace: f.pace, Machine: sweep.ThisMachine()}
	if c.Target, err = readTokenizer(f.target); err != nil {
		return nil, err
	}
	c.Own = c.Target
	if c.Context, err = contextOf(f.target); err != nil {
		return nil, err
	}
	if f.draft == "none" {
		return f.launch(ctx, c, append(args, "--target", f.target, "--pace", f.pace), nil)
	}
	draft := ModelConfig{Model: f.draft, Engine: f.engine, Options: f.options}
	if c.Own, err = draft.tokenizer(); err != nil {
		return nil, err
	}
	return f.launch(ctx, c, append(args, "--target", f.target, "--pace", f.pace), &draft)
}

// startMock runs both sides on the mock engine, which has no text.
func (f *sweepFlags) startMock(ctx context.Context, c *sweep.Config) (func(), error) {
	o := map[string]string{"step": "40ms", "position": "0.3ms", "draft": "4ms", "agreement": "0.8", "spread": "1.5", "second": "0.5"}
	for k, v := range f.mock {
		if _, ok := o[k]; !ok {
			return nil, usagef("--mock %s=%s: use step, position, draft, agreement, spread or second", k, v)
		}
		o[k] = v
	}
	c.Context = 4096
	c.Origin = sweep.Origin{Machine: sweep.ThisMachine(),
		Target: sweep.Model{Name: "mock", Engine: "mock", Fingerprint: "step=" + o["step"] + " position=" + o["position"]}}
	draft := ModelConfig{Model: "mock", Engine: "mock", Options: map[string]string{"seed": "7", "step": o["draft"], "agreement": o["agreement"],
		"spread": o["spread"], "second": o["second"]}}
	return f.launch(ctx, c, []string{"--engine", "mock", "--target", "mock", "--option", "seed=7", "--option", "step=" + o["step"],
		"--option", "position=" + o["position"]}, &draft)
}

func (f *sweepFlags) launch(ctx context.Context, c *sweep.Config, cloudArgs []string, draft *ModelConfig) (stop func(), err error) {
	tmp, err := newScratch()
	if err != nil {
		return nil, err
	}
	ends := []func(){tmp.remove}
	stop = func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	cloud, err := startServer(ctx, tmp.dir, "cloud", append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain", "1s", "--prefixes", "0"}, cloudArgs...)...)
	if err != nil {
		return nil, fmt.Errorf("the cloud does not start: %w", err)
	}
	ends = append(ends, cloud.stop)
	c.Cloud = cloud.addr()
	if draft == nil {
		return stop, nil
	}
	h, err := draft.launch(ctx, "draft", c.Logger)
	if err != nil {
		return nil, err
	}
	ends = append(ends, func() { _ = h.Close() }) // nothing is left to lose
	c.Draft, c.Context = h, min(c.Context, h.Info().ContextLength)
	c.Origin.Draft = sweep.Model{Name: modelName(draft.Model), Engine: h.Info().Engine, Fingerprint: draftFingerprint(draft), Numerics: h.Info().Numerics}
	if c.Target != nil && !pair.Compare(c.Target, c.Own).Fits {
		c.Fit = backend.Model(translate.New(h, c.Own, c.Target))
	}
	return stop, nil
}

func contextOf(model string) (int, error) {
	f, err := openGGUF(model)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if n := describe(model, f).Context; n > 0 {
		return int(n), nil
	}
	return 4096, nil
}

func modelName(m string) string { return strings.TrimSuffix(filepath.Base(m), ".gguf") }

func draftFingerprint(m *ModelConfig) string {
	if m.Engine != "mock" {
		return fingerprint(m.Model)
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m.Options)) {
		parts = append(parts, k+"="+m.Options[k])
	}
	return strings.Join(parts, " ")
}

// fingerprint of a model's file: of its size, its first and its last MiB, as files may have many GB.
func fingerprint(model string) string {
	h := sha256.New()
	if b, ok := models.Embedded(model); ok {
		_, _ = h.Write(b) // never fails
	} else if f, err := os.Open(model); err == nil {
		defer func() { _ = f.Close() }() // it was only read
		const part = 1 << 20
		if i, err := f.Stat(); err == nil {
			fmt.Fprintln(h, i.Size())
			_, _ = io.CopyN(h, f, part) // a shorter file has less to tell
			_, _ = io.Copy(h, io.NewSectionReader(f, max(0, i.Size()-part), part))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// sweepProgress shows a bar with the time left on a terminal, a line now and then elsewhere.
type sweepProgress struct {
	w            io.Writer
	bar          *progressbar.ProgressBar
	began, told  time.Time
	all, missing int
}

func newSweepProgress(w io.Writer, all, missing int) *sweepProgress {
	p := &sweepProgress{w: w, began: time.Now(), told: time.Now(), all: all, missing: missing}
	if isTerminal(w) && missing > 0 {
		p.bar = progressbar.NewOptions(all, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("measuring"), progressbar.OptionSetWidth(20),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionUseANSICodes(true))
	}
	return p
}

func (p *sweepProgress) step(done, all int) {
	left := ""
	if d := done - (p.all - p.missing); d > 0 { // what was finished before comes at once
		left = fmt.Sprintf(", about %s left", (time.Since(p.began) / time.Duration(d) * time.Duration(all-done)).Round(time.Second))
	}
	switch {
	case p.bar != nil:
		p.bar.Describe("measuring" + left)
		_ = p.bar.Set(done) // a terminal that is gone is no reason to stop
	case p.missing > 0 && (time.Since(p.told) > 10*time.Second || done == all):
		p.told = time.Now()
		fmt.Fprintf(p.w, "%d of %d cells%s\n", done, all, left)
	}
}

func (p *sweepProgress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // as above
		fmt.Fprintln(p.w)
	}
}

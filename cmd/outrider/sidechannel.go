package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/sidechannel"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/shape"
	"github.com/outrider-llm/outrider/tokenizer"
)

type sideFlags struct {
	workload, data                       string
	prompts, repeats, tokens, concurrent int
	temperature                          float32
	step, position                       time.Duration
	early                                time.Duration
	shapes                               []string
	asJSON                               bool
}

func newSidechannel() *cobra.Command {
	var f sideFlags
	c := &cobra.Command{
		Use:   "sidechannel",
		Short: "How well packets' sizes and times tell prompts apart, and what padding and cadence change",
		Long: `Let the demo pair answer prompts, several times each with other seeds, over connections on loopback
whose packets are recorded: times, directions and sizes, as an onlooker has them. A random forest and a
nearest-neighbour classifier learn from all rounds but one, tell the prompts of that one, and so for
each round; tasks are told of prompts that were not learnt. The table says how often the better one is
right, and what each --shape costs. All shapes see the same prompts and seeds; an answer that differs is an
error.`,
		Example: `  outrider bench sidechannel
  outrider bench sidechannel --workload spec_bench --data ../shared/data/prompts --shape off --shape 128/20ms`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runSidechannel(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s := c.Flags()
	s.StringVar(&f.workload, "workload", "stories", "prompts: "+strings.Join(workload.Names(), ", ")+" or a file")
	s.StringVar(&f.data, "data", "", "folder of the known workloads")
	s.IntVar(&f.prompts, "prompts", 8, "number of prompts")
	s.IntVar(&f.repeats, "repeats", 10, "sessions of each, with a seed of its own")
	s.IntVarP(&f.tokens, "max-tokens", "n", 96, "tokens of each answer")
	s.IntVar(&f.concurrent, "concurrent", 8, "sessions at once")
	s.Float32Var(&f.temperature, "temperature", 0.3, "of the answers")
	s.DurationVar(&f.step, "target-step", 20*time.Millisecond, "a target step takes this at least")
	s.DurationVar(&f.position, "target-token", 300*time.Microsecond, "and for each row this")
	s.DurationVar(&f.early, "early", time.Second, "also tell prompts by so much of the beginning only")
	s.StringArrayVar(&f.shapes, "shape", []string{"off", "buckets", "512", "128/20ms", "128/40ms"}, "PADDING or PADDING/CADENCE as edge.padding and edge.cadence have them (can be repeated)")
	s.BoolVar(&f.asJSON, "json", false, "print JSON, one line per shape")
	return c
}

func runSidechannel(ctx context.Context, f sideFlags, w, stderr io.Writer) error {
	if f.prompts < 2 || f.repeats < 2 || f.tokens < 2 || f.concurrent < 1 {
		return usagef("--prompts, --repeats and --max-tokens must be at least 2, --concurrent at least 1")
	}
	c := sidechannel.Config{Repeats: f.repeats, Tokens: f.tokens, Temperature: f.temperature, Parallel: f.concurrent, Early: f.early,
		Say: func(format string, a ...any) { fmt.Fprintf(stderr, format+"\n", a...) }}
	for _, s := range f.shapes {
		padding, cadence, _ := strings.Cut(s, "/")
		var every time.Duration
		var err error
		if cadence != "" {
			every, err = time.ParseDuration(cadence)
		}
		var as shape.Shape
		if err == nil {
			as, err = shape.Parse(padding, every)
		}
		if err != nil {
			return usagef("--shape %s: %w", s, err)
		}
		c.Shapes = append(c.Shapes, as)
	}
	if err := f.models(ctx, &c); err != nil {
		return err
	}
	items, err := workload.Load(f.workload, f.data, 40*f.prompts)
	if err != nil {
		return usageError{err}
	}
	if c.Prompts = f.choose(items, c.Tokenizer); len(c.Prompts) < 2 {
		return usagef("the workload %s has no two prompts that the demo pair has room for", f.workload)
	}
	results, err := sidechannel.Run(ctx, c)
	if err != nil {
		return err
	}
	if f.asJSON {
		for _, r := range results {
			if err := json.NewEncoder(w).Encode(r); err != nil {
				return err
			}
		}
	} else {
		sideTable(w, f, results)
	}
	for _, r := range results {
		if !r.Same {
			return fmt.Errorf("the answers under %s are not those under %s", r.Shape, results[0].Shape)
		}
	}
	return nil
}

// models loads the demo pair into this process.
func (f *sideFlags) models(ctx context.Context, c *sidechannel.Config) error {
	target, err := reference.Load(ctx, models.TargetName, map[string]string{"threads": "1"}, nil)
	if err != nil {
		return err
	}
	if c.Draft, err = reference.Load(ctx, models.DraftName, map[string]string{"threads": "1"}, nil); err != nil {
		return err
	}
	c.Target = backend.Paced(target, f.step, f.position)
	data, _ := models.Embedded(models.TargetName)
	g, err := gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	c.Tokenizer, err = tokenizer.FromGGUF(g)
	return err
}

// choose takes prompts that leave room for the answer, of each task its share: those that come first.
func (f *sideFlags) choose(items []workload.Item, tok *tokenizer.Tokenizer) (out []sidechannel.Prompt) {
	tasks := map[string]int{}
	for _, it := range items {
		tasks[it.Task] = 0
	}
	most := (f.prompts + len(tasks) - 1) / max(1, len(tasks))
	seen := map[string]bool{}
	for _, it := range items {
		text := it.Text()
		n := len(tok.Encode(text, tokenizer.Options{}))
		if len(out) == f.prompts || tasks[it.Task] == most || n+f.tokens > 480 || seen[text] {
			continue
		}
		seen[text] = true
		tasks[it.Task]++
		out = append(out, sidechannel.Prompt{Text: text, Task: it.Task})
	}
	return out
}

func sideTable(w io.Writer, f sideFlags, results []sidechannel.Result) {
	r := results[0]
	fmt.Fprintf(w, "%d sessions of each shape, %d tokens each at temperature %g, target step %s + %s a row. Told right by the better classifier (chance %.0f %%, tasks %.0f %%):\n\n",
		r.Sessions, f.tokens, f.temperature, f.step, f.position, 100*r.Chance, 100*r.ByTask)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "frames\tprompt\tby its first %s\ttask\tbytes up/token\tdown/token\tms/token\tfirst token ms\tidentical\t\n", f.early)
	for _, r := range results {
		task := "-"
		if r.Tasks != (sidechannel.Accuracies{}) {
			task = fmt.Sprintf("%.0f %%", 100*r.Tasks.Best())
		}
		fmt.Fprintf(t, "%s\t%.0f %%\t%.0f %%\t%s\t%.0f\t%.0f\t%.1f\t%.0f\t%t\t\n", r.Shape, 100*r.Whole.Best(), 100*r.Early.Best(), task, r.Up, r.Down, r.Ms, r.First, r.Same)
	}
	_ = t.Flush() // to w, whose errors show on the next write
}

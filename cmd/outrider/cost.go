package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/cost"
	"github.com/outrider-llm/outrider/bench/engines"
	"github.com/outrider-llm/outrider/models"
)

type costFlags struct {
	target, engine, random string
	options                map[string]string
	asJSON                 bool
	c                      cost.Config
}

func newCost() *cobra.Command {
	var f costFlags
	c := &cobra.Command{
		Use:   "cost",
		Short: "Measure what a target's step costs by its sequences and rows",
		Long: `Run steps of many shapes on a model's plugin, in an order of chance, and fit what a step costs, what each
sequence in it and what each row: what "outrider simulate" asks for, and what says whether drafts raise a
target's capacity (they do where a sequence costs more than a row). No file of a large model at hand:
--random LAYERSxWIDTH makes one of random weights, which takes the same time.`,
		Example: `  outrider bench cost --engine llamacpp
  outrider bench cost --engine llamacpp --random 16x1024 --json > docs/data/step-cost.json
  outrider bench cost --target llama-8b-q4_k_m.gguf --engine llamacpp --option gpu_layers=all`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runCost(c, &f) },
	}
	s := c.Flags()
	s.StringVar(&f.target, "target", models.TargetName, "GGUF file or embedded model")
	s.StringVar(&f.random, "random", "", "LAYERSxWIDTH of a model of random weights instead, with the embedded target's vocabulary")
	engineFlags(s, &f.engine, &f.options)
	s.IntSliceVar(&f.c.Sequences, "sequences", []int{1, 2, 4, 8, 16, 32}, "in a step")
	s.IntSliceVar(&f.c.Rows, "rows", []int{1, 2, 4, 8}, "of each sequence")
	s.IntVar(&f.c.Most, "step-positions", 64, "rows of a step at most")
	s.IntVar(&f.c.Behind, "held", 128, "rows that each sequence holds before")
	s.IntVar(&f.c.Rounds, "rounds", 9, "steps of each shape")
	s.BoolVar(&f.asJSON, "json", false, "print the report as JSON")
	return c
}

func runCost(c *cobra.Command, f *costFlags) error {
	for _, n := range append(f.c.Sequences, f.c.Rows...) {
		if n < 1 {
			return usagef("--sequences and --rows must be 1 or more")
		}
	}
	if f.c.Behind < 1 || f.c.Rounds < 1 {
		return usagef("--held and --rounds must be at least 1")
	}
	tmp, err := newScratch()
	if err != nil {
		return err
	}
	defer tmp.remove()
	m := ModelConfig{Model: f.target, Engine: f.engine, Options: f.options}
	if f.random != "" {
		if m.Model, err = widened(f.random, tmp.dir); err != nil {
			return err
		}
	}
	h, err := m.launch(c.Context(), "target", slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // nothing is left to lose
	show := newSweepProgress(c.ErrOrStderr(), (f.c.Rounds+1)*len(f.c.Sequences)*len(f.c.Rows), 1)
	f.c.Step = show.step
	r, err := cost.Measure(c.Context(), h, f.c)
	show.end()
	if err != nil {
		return err
	}
	if f.asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(r)
	}
	return printCost(c.OutOrStdout(), &r)
}

func widened(random, dir string) (path string, err error) {
	var layers, width int
	if _, err := fmt.Sscanf(random, "%dx%d", &layers, &width); err != nil {
		return "", usagef("--random takes LAYERSxWIDTH such as 16x1024: it got %q", random)
	}
	f, err := openGGUF(models.TargetName)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	path = filepath.Join(dir, "random.gguf")
	if err := engines.Widen(f, path, layers, width); err != nil {
		return "", usageError{err}
	}
	return path, nil
}

func printCost(w io.Writer, r *cost.Report) error {
	fmt.Fprintf(w, "%s on %s, %d rows held by each sequence\n\n", r.Model, r.Numerics, r.Behind)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "sequences\trows\tms\tquarter\tthree quarters\tfitted\t")
	for _, s := range r.Shapes {
		fmt.Fprintf(t, "%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t\n", s.Sequences, s.Rows, s.Median, s.Low, s.High, s.Fitted)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\na step costs %.3f ms, and %.3f ms for each sequence and %.3f ms for each row (the median shape is off by %.0f %%, the worst by %.0f %%)\n"+
		"outrider simulate --capacity 8 --target-step %s\n", r.Step, r.Sequence, r.Position, 100*r.Error, 100*r.Worst, simulateFlagsOf(r))
	return err
}

// simulateFlagsOf are the flags that make the simulation's target cost the same.
func simulateFlagsOf(r *cost.Report) string {
	c := r.Cost()
	return strings.Join([]string{c.Step.String(), "--target-sequence", c.Sequence.String(), "--target-token", c.Position.String()}, " ")
}

// readCost reads a report of "outrider bench cost --json".
func readCost(file string) (r cost.Report, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Step+r.Sequence+r.Position <= 0 {
		return r, fmt.Errorf("%s is no report of `outrider bench cost --json`", file)
	}
	return r, nil
}

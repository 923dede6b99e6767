package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/pair"
	"github.com/outrider-llm/outrider/bench/trace"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/drafter/translate"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

type recordFlags struct {
	target, draft, engine string
	options               map[string]string
	workload, data, out   string
	n, tokens             int
	temperature           float32
	seed                  uint64
}

func newRecord() *cobra.Command {
	var f recordFlags
	c := &cobra.Command{
		Use:   "record --out FILE",
		Short: "Record where a draft agrees with a target, for simulate to replay",
		Long: `Let the target write answers to the prompts of a workload and ask the draft about each token: how sure
it was of its choice, and whether the target chose the same, or the draft's second choice. The file
(JSON lines) is what "outrider simulate --agreement trace:FILE" replays.`,
		Example: `  outrider bench record --out pair.jsonl
  outrider bench record --target llama-1b-q8_0.gguf --draft llama-68m-q8_0.gguf --workload spec_bench --data prompts --temperature 0.7 --out pair.jsonl
  outrider simulate --agreement trace:pair.jsonl --rtt 50ms`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runRecord(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s := c.Flags()
	s.StringVar(&f.out, "out", "", "file to write")
	s.StringVar(&f.target, "target", models.TargetName, "GGUF file or embedded model")
	s.StringVar(&f.draft, "draft", models.DraftName, "GGUF file or embedded model")
	engineFlags(s, &f.engine, &f.options)
	s.StringVar(&f.workload, "workload", "stories", "name or file, as of `outrider bench sweep`")
	s.StringVar(&f.data, "data", ".", "folder of the known workloads' files")
	s.IntVarP(&f.n, "n", "n", 12, "prompts, shared among the workload's tasks; 0: all")
	s.IntVar(&f.tokens, "max-tokens", 96, "tokens per prompt")
	s.Float32VarP(&f.temperature, "temperature", "t", 0, "above 0 both choose with the same noise")
	s.Uint64Var(&f.seed, "seed", 1, "of the sampling noise")
	return c
}

func runRecord(ctx context.Context, f recordFlags, w, stderr io.Writer) error {
	if f.out == "" || f.n < 0 || f.tokens < 1 || !(f.temperature >= 0) {
		return usagef("name a file with --out; --n and --temperature must not be negative, --max-tokens at least 1")
	}
	items, err := workload.Load(f.workload, f.data, f.n)
	if err != nil {
		return usageError{err}
	}
	t, d := ModelConfig{Model: f.target, Engine: f.engine, Options: f.options}, ModelConfig{Model: f.draft, Engine: f.engine, Options: f.options}
	tt, dt, err := tokenizersOf(t, d)
	if err != nil {
		return err
	}
	target, err := t.launch(ctx, "the target", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }() // nothing is left to lose
	host, err := d.launch(ctx, "the draft", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = host.Close() }() // nothing is left to lose
	draft := backend.Model(host)
	if !pair.Compare(tt, dt).Fits {
		draft = translate.New(host, dt, tt)
	}
	set := &trace.Set{Header: trace.Header{Target: modelName(f.target), Draft: modelName(f.draft), Temperature: f.temperature,
		Workload: workloadName(f.workload), Version: version()}}
	room := max(1, min(target.Info().ContextLength, host.Info().ContextLength)-f.tokens-2)
	var prompts [][]backend.Token
	for i := range items {
		ids := tt.Encode(items[i].Text(), tokenizer.Options{AddBOS: tt.AddBOS()})
		prompts = append(prompts, ids[:min(room, len(ids))])
	}
	show := newSweepProgress(stderr, len(prompts), len(prompts))
	_, _, err = pair.Measure(ctx, pair.Config{Target: target, Draft: draft, Prompts: prompts, Tokens: f.tokens, Temperature: f.temperature, Seed: f.seed,
		Step: show.step, Trace: func(i int, outcome string, confidence []float32) {
			if outcome != "" {
				set.Sessions = append(set.Sessions, trace.Session{Prompt: items[i].ID, Task: items[i].Task, Outcome: outcome, Confidence: confidence})
			}
		}})
	show.end()
	if err != nil {
		return err
	}
	if err := toFile(f.out, set.Write); err != nil {
		return err
	}
	first, second, n := set.Rates()
	fmt.Fprintf(w, "%s: %d positions of %d prompts; the draft agrees with %.1f %%, its second choice with %.1f %% of the rest\n", f.out, n, len(set.Sessions), 100*first, 100*second)
	return nil
}

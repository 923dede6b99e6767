package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/pair"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/drafter/translate"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

type pairFlags struct {
	engine       string
	options      map[string]string
	prompts      string
	n, tokens    int
	temperatures []float32
	rtt          time.Duration
	pace         string
	asJSON       bool
}

func newModelsPair() *cobra.Command {
	var f pairFlags
	c := &cobra.Command{
		Use:   "pair TARGET DRAFT",
		Short: "Say whether a draft fits a target, and what it is worth",
		Long: `Compare the vocabularies of two models token by token, let the target write answers to sample
prompts and ask the draft about each token: how often it would have said the same, and how many
tokens a pass of the target then commits. A draft with other tokens drafts text, as "outrider edge"
lets it. A simulation of edge, link and cloud says what that makes of --rtt and --pace; without
--pace the target's own speed here is used. The draft's speed is the one measured here: run this on
the edge device.`,
		Example: `  outrider models pair outrider-demo-target outrider-demo-draft --pace 40ms+0.3ms
  outrider models pair qwen2.5-7b-instruct-q4_k_m qwen2.5-0.5b-instruct-q8_0 --engine llamacpp --rtt 60ms`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("name a target and a draft (see `%s --help`)", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			return runPair(c.Context(), cfg.Models, f, args[0], args[1], c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s := c.Flags()
	s.StringVar(&f.engine, "engine", "reference", "reference, llamacpp, or a plugin binary's path, for both")
	s.StringToStringVar(&f.options, "option", nil, "KEY=VALUE for the engine, such as threads=4 (can be repeated)")
	s.StringVar(&f.prompts, "prompts", "", "file of prompts, JSON lines or text; default: a few samples")
	s.IntVarP(&f.n, "n", "n", 6, "number of prompts")
	s.IntVar(&f.tokens, "max-tokens", 48, "tokens per prompt")
	s.Float32SliceVar(&f.temperatures, "temperatures", []float32{0, 0.7}, "each prompt is run at each; above 0 both choose with the same noise")
	s.DurationVar(&f.rtt, "rtt", 40*time.Millisecond, "round-trip time between edge and cloud")
	s.StringVar(&f.pace, "pace", "", "cost of a target step and of a scored token in the cloud, such as 40ms+0.3ms")
	s.BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

// pairReport is the outcome of `outrider models pair`.
type pairReport struct {
	Target     string       `json:"target"`
	Draft      string       `json:"draft"`
	Vocabulary pair.Fit     `json:"vocabulary"`
	AsText     bool         `json:"drafts_as_text"` // the draft's text is put into the target's tokens
	DraftMs    float64      `json:"draft_ms_per_token,omitempty"`
	TargetMs   float64      `json:"target_ms_per_token,omitempty"`
	RTT        float64      `json:"rtt_ms"`
	Step       float64      `json:"step_ms,omitempty"`
	Position   float64      `json:"position_ms,omitempty"`
	Results    []pairResult `json:"results,omitempty"`
}

type pairResult struct {
	pair.Agreement
	Estimate *pair.Estimate `json:"estimate,omitempty"`
}

func runPair(ctx context.Context, c ModelsConfig, f pairFlags, target, draft string, w, stderr io.Writer) error {
	if f.n < 1 || f.tokens < 2 || f.rtt < 0 || len(f.temperatures) == 0 || slices.Min(f.temperatures) < 0 {
		return usagef("--n must be at least 1, --max-tokens at least 2, --rtt and --temperatures not negative")
	}
	if _, _, err := (ModelConfig{Pace: f.pace}).pace(); err != nil {
		return err
	}
	t, d := ModelConfig{Model: target, Engine: f.engine, Options: f.options}, ModelConfig{Model: draft, Engine: f.engine, Options: f.options}
	if err := firstOf(t.resolve(c), d.resolve(c)); err != nil {
		return err
	}
	tt, dt, err := tokenizersOf(t, d)
	if err != nil {
		return err
	}
	r := pairReport{Target: target, Draft: draft, Vocabulary: pair.Compare(tt, dt), RTT: milliseconds(f.rtt)}
	r.AsText = !r.Vocabulary.Fits
	if err := r.measure(ctx, f, t, d, tt, dt, stderr); err != nil {
		return err
	}
	if f.asJSON {
		err = json.NewEncoder(w).Encode(r)
	} else {
		r.print(w)
	}
	return err
}

// measure runs both models.
func (r *pairReport) measure(ctx context.Context, f pairFlags, t, d ModelConfig, tok, draftTok *tokenizer.Tokenizer, stderr io.Writer) error {
	prompts, err := f.samples(t, tok)
	if err != nil {
		return err
	}
	var running []backend.Model
	for _, m := range []struct {
		ModelConfig
		role string
	}{{t, "the target"}, {d, "the draft"}} {
		h, err := m.launch(ctx, m.role, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer func() { _ = h.Close() }() // nothing is left to lose
		running = append(running, h)
	}
	inner := running[1]
	if r.AsText {
		running[1] = translate.New(inner, draftTok, tok)
	}
	var cost speculative.Cost
	for i, temperature := range f.temperatures {
		a, speeds, err := pair.Measure(ctx, pair.Config{Target: running[0], Draft: running[1], Prompts: prompts, Tokens: f.tokens,
			Temperature: temperature, Seed: 1, Step: func(done, all int) {
				if isTerminal(stderr) {
					fmt.Fprintf(stderr, "\rtemperature %g: %d of %d prompts ", temperature, done, all)
				}
			}})
		if isTerminal(stderr) {
			fmt.Fprint(stderr, "\r\x1b[K")
		}
		if err != nil {
			return err
		}
		if i == 0 && r.AsText { // what it has said before is not drafted again, so time it by itself
			if speeds.Draft, err = textSpeed(ctx, inner, running[1], draftTok); err != nil {
				return err
			}
		}
		if i == 0 {
			r.DraftMs, r.TargetMs = milliseconds(speeds.Draft), milliseconds(speeds.Target)
			cost = speculative.Cost{Step: speeds.Target, Position: speeds.Row}
			if step, position, _ := (ModelConfig{Pace: f.pace}).pace(); step+position > 0 {
				cost = speculative.Cost{Step: step, Position: position}
			}
			r.Step, r.Position = milliseconds(cost.Step), milliseconds(cost.Position)
		}
		x := pairResult{Agreement: a}
		if e, ok := pair.Predict(a.Rate, f.rtt, cost, time.Duration(r.DraftMs*float64(time.Millisecond))); ok {
			x.Estimate = &e
		}
		r.Results = append(r.Results, x)
	}
	return nil
}

// textSpeed is how long a draft that drafts text takes for a token of the target.
func textSpeed(ctx context.Context, inner, translated backend.Model, tok *tokenizer.Tokenizer) (time.Duration, error) {
	prompt := tok.Encode(pairSamples[0], tokenizer.Options{AddBOS: tok.AddBOS()})
	const sequence, tokens = 2, 24
	var first time.Time
	n := 0
	err := inner.Draft(ctx, backend.DraftRequest{MaxTokens: tokens, Segment: backend.Segment{Sequence: sequence, Tokens: prompt,
		Setup: &backend.Setup{PromptLength: len(prompt)}}}, func(speculative.Choice) bool {
		if n++; n == 1 {
			first = time.Now()
		}
		return true
	})
	if err == nil {
		err = inner.Release(ctx, []backend.Sequence{sequence})
	}
	if err != nil || n < 2 {
		return 0, err
	}
	each := time.Since(first) / time.Duration(n-1)
	if t, ok := translated.(*translate.Model); ok {
		if u := t.Uses(); u.Drafted > u.Proposed {
			each = each * time.Duration(u.Drafted) / time.Duration(u.Proposed)
		}
	}
	return each, nil
}

// pairSamples are continued by base models and by instruct models alike.
var pairSamples = [...]string{
	"The three most important things to know about the water cycle are:\n1.",
	"def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
	"Question: A train travels 60 km in 45 minutes. What is its average speed in km/h?\nAnswer: Let us think step by step.",
	"Once upon a time, there was a little girl named Lily.",
	"Dear Ms. Miller,\n\nthank you for your letter of 3 May. I am writing to",
	"Paris is the capital of France. Berlin is the capital of Germany. Tokyo is the capital of",
}

func (f pairFlags) samples(target ModelConfig, tok *tokenizer.Tokenizer) ([][]backend.Token, error) {
	var texts []string
	switch {
	case f.prompts != "":
		var err error
		if texts, err = workload.Read(f.prompts, f.n); err != nil {
			return nil, err
		}
	case target.Model == models.TargetName || target.Model == models.DraftName:
		texts = workload.Stories(f.n)
	default:
		for i := range f.n {
			texts = append(texts, pairSamples[i%len(pairSamples)])
		}
	}
	var out [][]backend.Token
	for _, t := range texts {
		out = append(out, tok.Encode(t, tokenizer.Options{AddBOS: tok.AddBOS()}))
	}
	return out, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r *pairReport) print(w io.Writer) {
	fmt.Fprintf(w, "vocabulary: %s\n", r.Vocabulary.Text)
	if r.AsText {
		fmt.Fprintln(w, "the draft drafts as text, which is put into the target's tokens")
	}
	fmt.Fprintf(w, "speed here: draft %.1f ms a token, target %.1f ms\n\n", r.DraftMs, r.TargetMs)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "temperature\tagreement\trunner-up\ttokens a pass, depth 4\tdepth 8\twith draft\ttarget alone\t")
	pays := true
	for _, x := range r.Results {
		fmt.Fprintf(t, "%g\t%.1f %%\t%.1f %%\t%.2f\t%.2f\t", x.Temperature, 100*x.Rate, 100*float64(x.Second)/float64(x.Tokens), x.Length[4], x.Length[8])
		if e := x.Estimate; e != nil {
			pays = pays && e.Pays
			fmt.Fprintf(t, "%.1f ms\t%.1f ms\t", e.MsPerToken, e.Alone)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // errors of w show on the next write
	verdict := "drafting pays"
	if !pays {
		verdict = "drafting does not pay: the edge would notice and rest the draft"
	}
	fmt.Fprintf(w, "\nby simulation, with %g ms of round trip and a target of %.1f ms a step and %.2f ms a scored token: %s\n", r.RTT, r.Step, r.Position, verdict)
}

// tokenizersOf are those of a target and a draft that both have text.
func tokenizersOf(target, draft ModelConfig) (t, d *tokenizer.Tokenizer, err error) {
	if t, err = target.tokenizer(); err != nil {
		return nil, nil, err
	}
	if d, err = draft.tokenizer(); err != nil {
		return nil, nil, err
	}
	if t == nil || d == nil {
		return nil, nil, usagef("the engine %s has no text", target.Engine)
	}
	return t, d, nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// demoPace is what a step of a 70B-class model on one GPU node costs: a demo-sized target would be
// unrealistically fast next to the link.
const demoPace = "40ms+0.3ms"

var demoPrompts = []string{
	"Once upon a time, there was a little girl named Lily. She loved to play",
	"One day, a dog named Max found a big red ball in the park.",
	"Tom and his mom went to the beach. The sun was hot and",
}

type demoFlags struct {
	rtt         time.Duration
	link        linkFlag
	pace        string
	runAhead    string
	target      string
	draft       string
	engine      string
	options     map[string]string
	config      string // file that the servers read, too; empty: none was named
	temperature float32
	tokens      int
	rounds      int
	asJSON      bool
	colour      string
}

func newDemo() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Edge, cloud and an emulated link on this machine, with the embedded models",
		Long: `Run an edge process and a cloud process with their model plugins on this machine, over an
emulated link. Three prompts stream, coloured by how each token came; each is then run once more
with the target alone over the same link, and a table compares the two.

The target is paced to the steps of a 70B-class model on one GPU node (40 ms and 0.3 ms per
token that it scores), since the embedded one would be unrealistically fast next to the link;
--pace off shows its own speed.

Other models: --target and --draft take names and files as "outrider cloud" and "outrider edge" do,
--pair a pair of the configuration file.

` + presetHelp(),
		Example: `  outrider demo
  outrider demo --rtt 100ms --run-ahead off
  outrider demo --link lte            # jitter, loss and rates, too; by name or setting by setting
  outrider demo --target llama-1b-q8_0.gguf --draft llama-68m-q8_0.gguf --pace off
  outrider demo --draft random        # a useless draft must not slow the target down
  outrider demo --engine llamacpp     # both models on llama.cpp
  outrider demo --json | tail -n 1 | jq .ratio`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			f.choose(cfg)
			return runDemo(c.Context(), f, c.OutOrStdout())
		},
	}
	s := c.Flags()
	s.DurationVar(&f.rtt, "rtt", 40*time.Millisecond, "round-trip time of the emulated link")
	s.Var(&f.link, "link", linkUsage)
	s.StringVar(&f.pace, "pace", demoPace, "emulated cost of a target step and of a scored token, or off")
	s.StringVar(&f.runAhead, "run-ahead", "on", "on, off, or target passes per token at most")
	engineFlags(s, &f.engine, &f.options)
	s.StringVar(&f.target, "target", "", "name or GGUF file; default: the pair's, or the embedded target")
	s.StringVar(&f.draft, "draft", "", "name or GGUF file, random (random weights) or none; default: the pair's, or the embedded draft")
	addPairFlag(s)
	s.Float32VarP(&f.temperature, "temperature", "t", 0, "sampling temperature")
	s.IntVarP(&f.tokens, "max-tokens", "n", 96, "tokens per prompt")
	s.IntVar(&f.rounds, "rounds", 1, "how often each prompt is run each way")
	s.BoolVar(&f.asJSON, "json", false, "print the figures as JSON on the last line")
	s.StringVar(&f.colour, "color", "auto", "auto, always or never")
	return c
}

// choose fills in what the flags leave open.
func (f *demoFlags) choose(cfg *Config) {
	pair := cfg.Pairs[cfg.Pair]
	if f.target != "" {
		pair, _ = cfg.pairOf(f.target)
	}
	f.target = firstWord(f.target, pair.Target, models.TargetName)
	f.draft = firstWord(f.draft, pair.Draft, models.DraftName)
	f.config = cfg.from.file
}

func firstWord(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// demoReport is the last line of `outrider demo --json`.
type demoReport struct {
	RTT        float64 `json:"rtt_ms"`
	Link       string  `json:"link,omitempty"` // as --link told it
	Pace       string  `json:"pace"`
	Tokens     int     `json:"tokens"`
	MsPerToken float64 `json:"ms_per_token"`
	CloudOnly  float64 `json:"cloud_only_ms_per_token"`
	Ratio      float64 `json:"ratio"`
	Acceptance float64 `json:"acceptance_rate"`
	MeanLength float64 `json:"mean_acceptance_length"`
	Passes     float64 `json:"target_passes_per_token"`
	Uplink     float64 `json:"uplink_payload_bytes_per_token"`
	Identical  bool    `json:"identical_to_target"`
}

func runDemo(ctx context.Context, f demoFlags, w io.Writer) error {
	p, err := newPrinter(w, f.colour)
	if err != nil {
		return err
	}
	if f.rounds < 1 || f.tokens < 1 || f.tokens > math.MaxInt32 || f.rtt < 0 {
		return usagef("--rounds and --max-tokens must be at least 1, --rtt not negative")
	}
	if _, err := parseRunAhead(f.runAhead); err != nil {
		return err
	}
	if err := (speculative.Params{Temperature: f.temperature}).Validate(); err != nil {
		return usageError{err}
	}
	s, edge, err := startDemo(ctx, f, w)
	if err != nil {
		return err
	}
	defer s.stop()
	defer func() { _ = edge.Close() }() // nothing is left to lose
	fmt.Fprintf(w, "%s\n\n", p.legend())
	with, alone, identical := figures{}, figures{}, true
	for round := range f.rounds {
		for i, prompt := range demoPrompts {
			show := p
			if round > 0 {
				show = nil
			}
			same, err := demoPrompt(ctx, edge, f, i, prompt, show, w, &with, &alone)
			if err != nil {
				return err
			}
			identical = identical && same
		}
	}
	r := demoReport{RTT: ms(f.link.profile(f.rtt).RTT), Link: f.link.text, Pace: f.pace, Tokens: with.Tokens, MsPerToken: with.MsPerToken,
		CloudOnly: alone.MsPerToken, Ratio: with.MsPerToken / alone.MsPerToken, Acceptance: with.AcceptanceRate,
		MeanLength: with.MeanLength, Passes: with.PassesPerToken, Uplink: with.UplinkBytes, Identical: identical}
	r.table(w)
	if f.asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	return nil
}

func startDemo(ctx context.Context, f demoFlags, w io.Writer) (*stack, *edgeClient, error) {
	if _, _, err := (ModelConfig{Pace: f.pace}).pace(); err != nil {
		return nil, nil, err
	}
	args, err := engineArgs(f.engine, f.options)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(w, "edge (%s drafts)  <-- emulated link, %s -->  cloud (%s verifies)\n", f.draft, f.link.profile(f.rtt), f.target)
	if f.engine != "" && f.engine != "reference" {
		fmt.Fprintf(w, "Both models run on the engine %s.\n", f.engine)
	}
	if f.pace != "off" {
		fmt.Fprintf(w, "The target is paced like a 70B-class model on one GPU node: %s per step + per scored token (--pace off: its own speed).\n", f.pace)
	}
	s, err := startStack(ctx, stackConfig{rtt: f.rtt, link: f.link, draft: f.draft, config: f.config,
		cloudArgs: append([]string{"--target", f.target, "--pace", f.pace}, args...),
		edgeArgs:  append([]string{"--run-ahead", f.runAhead}, args...)})
	if err != nil {
		return nil, nil, err
	}
	edge, err := dialEdge(s.edge.addr())
	if err != nil {
		s.stop()
		return nil, nil, err
	}
	return s, edge, nil
}

// demoPrompt runs one prompt with both models and then with the target alone over the same link,
// and says whether the two gave the same tokens. p is nil when nothing is to be shown.
func demoPrompt(ctx context.Context, edge *edgeClient, f demoFlags, i int, prompt string, p *printer, w io.Writer,
	with, alone *figures) (bool, error) {
	request := func(noDraft bool) *outriderv1.GenerateRequest {
		return &outriderv1.GenerateRequest{Input: &outriderv1.GenerateRequest_Prompt{Prompt: prompt},
			Sampling:  &outriderv1.Sampling{Temperature: f.temperature, Seed: uint64(i + 1)},
			MaxTokens: uint32(f.tokens), IgnoreEnd: true, NoDraft: noDraft}
	}
	var got, want []uint32
	if p != nil {
		fmt.Fprint(w, p.faint(prompt))
	}
	sum, err := edge.generate(ctx, request(false), func(m *outriderv1.GenerateResponse) {
		for _, t := range m.GetTokens() {
			got = append(got, t.GetId())
		}
		if p != nil {
			p.response(m)
		}
	})
	if err != nil {
		return false, err
	}
	with.add(sum)
	if p != nil {
		fmt.Fprintf(w, "\n%s\n", p.faint(statusLine(sum)))
	}
	r := request(true)
	r.RunAhead = &outriderv1.RunAhead{MaxPassesPerToken: 1} // the target streams at full speed
	if sum, err = edge.generate(ctx, r, func(m *outriderv1.GenerateResponse) {
		for _, t := range m.GetTokens() {
			want = append(want, t.GetId())
		}
	}); err != nil {
		return false, err
	}
	alone.add(sum)
	if p != nil {
		fmt.Fprintf(w, "%s\n\n", p.faint(fmt.Sprintf("the target alone over the same link: %.1f ms/token", float64(sum.GetTotalUs())/1000/float64(max(1, sum.GetGeneratedTokens())))))
	}
	return slices.Equal(got, want), nil
}

func (r *demoReport) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	yes := map[bool]string{true: "yes, every token", false: "NO"}
	for _, row := range [][3]string{
		{"", "edge + cloud", "target alone"},
		{"time per token", fmt.Sprintf("%.1f ms", r.MsPerToken), fmt.Sprintf("%.1f ms", r.CloudOnly)},
		{"ratio", fmt.Sprintf("%.2f", r.Ratio), "1"},
		{"target passes per token", fmt.Sprintf("%.2f", r.Passes), "1"},
		{"acceptance rate", fmt.Sprintf("%.2f", r.Acceptance), ""},
		{"mean acceptance length", fmt.Sprintf("%.2f tokens", r.MeanLength), ""},
		{"uplink payload per token", fmt.Sprintf("%.1f bytes", r.Uplink), ""},
		{"identical to the target", yes[r.Identical], ""},
	} {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row[:], "\t"), "\t"))
	}
	_ = t.Flush() // errors of w show on the next write
}

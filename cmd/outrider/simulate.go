package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/simulate"
	"github.com/outrider-llm/outrider/speculative"
)

type simulateFlags struct {
	rtts                               []time.Duration
	jitter                             time.Duration
	uplink                             int
	links                              linksFlag
	step, sequence, token, draft       time.Duration
	agreement                          agreement
	spread, second                     float64
	confidence                         string
	prompt, tokens, sessions, repeats  int
	within                             time.Duration
	seed                               uint64
	runAhead                           float64
	objectives                         []string
	maxPasses                          []float64 // a curve over these in place of runAhead
	branches                           bool
	depth, window                      int
	minPath                            float64
	gap                                time.Duration
	thrifty                            bool
	arrivals                           string
	requests, maxPrompt                int
	speed, capacity, price             float64
	positions, sequences               int
	noBaselines, asJSON, withBreakEven bool
}

func newSimulate() *cobra.Command {
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Predict latency, capacity and cost on a virtual clock, without models",
		Long: `Run the deciding code, the same that runs in production, on a virtual clock with synthetic
models: how fast a pair is over a link, how many sessions a target carries, what a million tokens
cost. Give the step times that "outrider bench engines" or your own server shows, and the agreement
that "outrider models pair" measures, or replay with trace:FILE what "outrider bench record" wrote.

Next to Outrider it shows the target streaming alone (the ratio's base), a synchronous draft-verify
loop at its best depth, a plain pipelined loop, the same draft beside the target in the cloud, and an
oracle whose drafter knows which of its tokens will hold: no drafting at this speed can beat it.`,
		Example: `  outrider simulate --rtt 10ms,50ms,100ms --target-step 40ms --target-token 0.3ms --draft-token 4ms --agreement 0.8
  outrider simulate --rtt 50ms --sessions 1000 --within 1m         # many edges, one target
  outrider simulate --link lte --link rtt=50ms,up=25kbit,loss=1%
  outrider simulate --rtt 50ms --max-passes 0.3,0.5,1              # latency against cloud work
  outrider simulate --rtt 50ms --objective latency,cost,energy,balanced
  outrider simulate --rtt 50ms --capacity 8                        # sessions at 8 tokens/s each
  outrider simulate --arrivals azure_llm_code_2023.csv --requests 2000
  outrider simulate --rtt 50ms --agreement trace:pair.jsonl
  outrider simulate --json --rtt 10ms,50ms | jq .ratio`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := runSimulate(c.Context(), &f, c.OutOrStdout())
			if errors.Is(err, simulate.ErrConfig) {
				return usageError{err}
			}
			return err
		},
	}
	f.flags(c)
	return c
}

func (f *simulateFlags) flags(c *cobra.Command) {
	s := c.Flags()
	s.DurationSliceVar(&f.rtts, "rtt", []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}, "round-trip times")
	s.Var(&f.links, "link", "links in place of --rtt, --jitter and --uplink (can be repeated): "+link.Forms)
	s.DurationVar(&f.jitter, "jitter", 0, "up to so much more each way")
	s.IntVar(&f.uplink, "uplink", 0, "bits per second from edge to cloud, 0: unlimited")
	s.DurationVar(&f.step, "target-step", 40*time.Millisecond, "a target step costs this")
	s.DurationVar(&f.token, "target-token", 300*time.Microsecond, "and for each token that it scores this")
	s.DurationVar(&f.sequence, "target-sequence", 0, "and for each session in it this")
	s.DurationVar(&f.draft, "draft-token", 4*time.Millisecond, "a drafted token takes this on the edge")
	f.agreement.rate = 0.8
	s.Var(&f.agreement, "agreement", "how often the draft's first choice is the target's, on average; or trace:FILE, what 'outrider bench record' wrote of a real pair")
	s.Float64Var(&f.spread, "agreement-spread", 1.5, "at each position it is drawn from Beta(mean x this, (1-mean) x this); 0: the same everywhere")
	s.StringVar(&f.confidence, "confidence", "calibrated", "what the draft's confidence tells: calibrated, noisy or none")
	s.Float64Var(&f.second, "second-choice", 0.5, "of the misses, how often the draft's second choice is right")
	s.IntVar(&f.prompt, "prompt", 16, "prompt tokens")
	s.IntVar(&f.tokens, "tokens", 400, "generated tokens per session")
	s.IntVar(&f.sessions, "sessions", 1, "sessions that share one target")
	s.DurationVar(&f.within, "within", time.Second, "they begin evenly within this time")
	s.IntVar(&f.repeats, "repeats", 100, "how often a single session is repeated, with other luck")
	s.Uint64Var(&f.seed, "seed", 1, "of all luck")
	s.StringSliceVar(&f.objectives, "objective", []string{"latency"}, "what speculation is to save: "+strings.Join(speculative.Objectives(), ", ")+"; each of a list in turn")
	s.Float64Var(&f.runAhead, "run-ahead", 0, "target passes per committed token at most; 0: what the objective says")
	s.Float64SliceVar(&f.maxPasses, "max-passes", nil, "show the curve over these values of --run-ahead, between 0.001 and 1, at each round trip")
	s.BoolVar(&f.branches, "branches", true, "also propose the draft's second choices")
	s.IntVar(&f.depth, "depth", 0, "tokens drafted beyond the committed text; 0: adaptive")
	s.IntVar(&f.window, "window", 0, "nodes in flight at most; 0: the default")
	s.Float64Var(&f.minPath, "min-path", 0, "draft while the path probability is at least this; 0: the default")
	s.DurationVar(&f.gap, "gap", 0, "least time between proposals; 0: the default")
	s.BoolVar(&f.thrifty, "thrifty", false, "fewer bytes up: as edge.uplink does")
	s.StringVar(&f.arrivals, "arrivals", "", "CSV of requests: TIMESTAMP,ContextTokens,GeneratedTokens")
	s.IntVar(&f.requests, "requests", 1000, "of these, the first so many")
	s.IntVar(&f.maxPrompt, "max-prompt", 0, "prompts are cut to this many tokens, as if the rest were cached; 0: not")
	s.Float64Var(&f.speed, "speed", 1, "the requests arrive this many times as fast")
	s.Float64Var(&f.capacity, "capacity", 0, "find how many sessions get this many tokens a second each")
	s.Float64Var(&f.price, "price", 0, "of an hour of the target's machine: shows the cost per million tokens")
	s.IntVar(&f.positions, "step-positions", 256, "tokens in one target step at most")
	s.IntVar(&f.sequences, "step-sequences", 0, "sessions in one target step at most; 0: no bound")
	s.BoolVar(&f.withBreakEven, "break-even", false, "find the round trip from which each way is no faster than the target alone")
	s.BoolVar(&f.noBaselines, "no-baselines", false, "only Outrider against cloud-only streaming")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object per round-trip time")
}

// simulated is one line of `outrider simulate --json`.
type simulated struct {
	RTT       float64 `json:"rtt_ms"`
	Link      string  `json:"-"` // what else there is to tell of it
	Objective string  `json:"objective"`
	MaxPasses float64 `json:"max_passes_per_token"` // what --run-ahead, --max-passes or the objective asked for
	simulate.Figures
	CloudOnlyMs float64                     `json:"cloud_only_ms_per_token"`
	Cost        float64                     `json:"cost_per_million_tokens,omitempty"`
	Baselines   map[string]simulate.Figures `json:"baselines,omitempty"`
	Capacity    map[string]int              `json:"capacity_sessions,omitempty"`
	BreakEven   map[string]float64          `json:"break_even_rtt_ms,omitempty"`
	Assumptions map[string]any              `json:"assumptions"`
}

func (f *simulateFlags) config() (simulate.Config, error) {
	c := simulate.Config{Seed: f.seed, Strategy: simulate.Cooperative,
		Model: simulate.Model{Target: speculative.Cost{Step: f.step, Sequence: f.sequence, Position: f.token}, Draft: f.draft,
			Agreement: f.agreement.rate, Trace: f.agreement.set, Spread: f.spread, Second: f.second, Confidence: simulate.Confidence(f.confidence)},
		Link: link.Config{Jitter: f.jitter, Up: link.Way{Rate: int64(f.uplink)}}, Sessions: f.sessions, Prompt: f.prompt, Tokens: f.tokens, Spread: f.within,
		RunAhead: f.runAhead, Branches: f.branches, Depth: f.depth, Window: f.window, MinPath: f.minPath, Gap: f.gap, Thrifty: f.thrifty,
		Limits: speculative.Limits{Positions: f.positions, Sequences: f.sequences, Prefill: 64}}
	if f.positions < 1 || f.sequences < 0 || f.repeats < 1 || f.tokens < 1 || len(f.rtts) == 0 {
		return c, usagef("--step-positions, --repeats and --tokens must be at least 1, --step-sequences not negative, --rtt not empty")
	}
	if f.sessions == 1 { // each alone: far apart
		c.Sessions, c.Spread = f.repeats, time.Duration(f.repeats)*apart
	}
	if f.arrivals == "" {
		return c, nil
	}
	file, err := os.Open(f.arrivals)
	if err != nil {
		return c, err
	}
	defer func() { _ = file.Close() }() // was only read
	c.Arrivals, err = simulate.ReadArrivals(file, f.requests, f.speed, f.maxPrompt)
	return c, err
}

// apart keeps sessions that are to be alone from meeting.
const apart = 24 * time.Hour

func runSimulate(ctx context.Context, f *simulateFlags, w io.Writer) error {
	c, err := f.config()
	if err != nil {
		return err
	}
	if err := f.possible(); err != nil {
		return err
	}
	objectives, err := f.parsedObjectives()
	if err != nil {
		return err
	}
	if !f.asJSON {
		fmt.Fprintf(w, "Assumed: %s\n\n", f.assumptions(c))
	}
	for i, l := range f.links.over(f.rtts, c.Link) {
		for j, o := range objectives {
			c.Link, c.Objective = l, o
			if err := f.curve(ctx, c, i+j == 0, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// possible refuses values that the simulation would not notice.
func (f *simulateFlags) possible() error {
	for _, p := range f.maxPasses {
		if !(p >= 0.001 && p <= 1) {
			return usagef("--max-passes is %g, must be between 0.001 and 1", p)
		}
	}
	switch {
	case f.depth < 0:
		return usagef("--depth is %d, must not be negative; 0 is adaptive", f.depth)
	case !(f.capacity >= 0):
		return usagef("--capacity is %g, must be tokens a second for each session", f.capacity)
	case !(f.price >= 0):
		return usagef("--price is %g, must not be negative", f.price)
	}
	return nil
}

func (f *simulateFlags) parsedObjectives() ([]speculative.Objective, error) {
	if len(f.objectives) == 0 {
		return nil, usagef("--objective is empty: use %s", strings.Join(speculative.Objectives(), ", "))
	}
	out := make([]speculative.Objective, len(f.objectives))
	for i, word := range f.objectives {
		o, err := speculative.ParseObjective(word)
		if err != nil || o == speculative.ObjectiveDefault {
			return nil, usagef("--objective %q is unknown: use %s", word, strings.Join(speculative.Objectives(), ", "))
		}
		out[i] = o
	}
	return out, nil
}

// curve shows one round trip at each bound on the target's passes.
func (f *simulateFlags) curve(ctx context.Context, c simulate.Config, first bool, w io.Writer) error {
	bounds := f.maxPasses
	if len(bounds) == 0 {
		bounds = []float64{f.runAhead}
	}
	for i, p := range bounds {
		c.RunAhead = p
		r, err := f.simulate(ctx, c)
		if err != nil {
			return err
		}
		r.Objective = c.Objective.String()
		if r.MaxPasses = p; p == 0 {
			r.MaxPasses = c.Objective.Aims().MaxPasses
		}
		if i > 0 || !first || !f.withBreakEven {
			r.BreakEven = nil
		}
		if f.asJSON {
			r.Assumptions = f.assumed(c)
			if err := json.NewEncoder(w).Encode(r); err != nil {
				return err
			}
			continue
		}
		r.table(w, f)
	}
	return nil
}

func (f *simulateFlags) simulate(ctx context.Context, c simulate.Config) (*simulated, error) {
	r := &simulated{RTT: ms(c.Link.RTT)}
	if plain := (link.Config{RTT: c.Link.RTT}); c.Link != plain {
		r.Link = " (" + c.Link.String() + ")"
	}
	ways := []simulate.Strategy{simulate.CloudOnly, simulate.Synchronous, simulate.Pipelined, simulate.Colocated, simulate.Oracle}
	if f.noBaselines || f.sessions > 1 || len(c.Arrivals) > 0 {
		ways = []simulate.Strategy{simulate.CloudOnly} // the other loops do not share a target
	}
	alone := c
	alone.Strategy = simulate.CloudOnly
	base, err := simulate.Run(ctx, alone)
	if err != nil {
		return nil, err
	}
	if r.Figures, err = simulate.Against(ctx, c, base); err != nil {
		return nil, err
	}
	r.Baselines = map[string]simulate.Figures{}
	for _, s := range ways {
		b := c
		b.Strategy = s
		if r.Baselines[string(s)], err = simulate.Against(ctx, b, base); err != nil {
			return nil, err
		}
	}
	r.CloudOnlyMs = r.Baselines[string(simulate.CloudOnly)].MsPerToken
	r.Cost = f.price * r.TargetSeconds / 3600
	if f.capacity > 0 {
		r.Capacity = map[string]int{}
		for _, s := range []simulate.Strategy{simulate.CloudOnly, simulate.Colocated, simulate.Cooperative} {
			b := c
			b.Strategy = s
			if r.Capacity[string(s)], err = simulate.Capacity(ctx, b, f.capacity); err != nil {
				return nil, err
			}
		}
	}
	if f.withBreakEven && f.sessions == 1 {
		r.BreakEven, err = breakEven(ctx, c)
	}
	return r, err
}

// Bounds of the search for a break-even round trip.
const (
	maxBreakEven = 2 * time.Second
	noGain       = 0.99
)

// breakEven finds from which round trip on a way saves less than 1 % of cloud-only streaming's time
// (up to maxBreakEven), in milliseconds.
func breakEven(ctx context.Context, c simulate.Config) (map[string]float64, error) {
	out := map[string]float64{}
	for _, s := range []simulate.Strategy{simulate.Synchronous, simulate.Pipelined, simulate.Cooperative} {
		low, high := time.Duration(0), maxBreakEven
		for high-low > time.Millisecond {
			b := c
			b.Strategy, b.Link.RTT = s, (low+high)/2
			fig, err := simulate.Compare(ctx, b)
			if err != nil {
				return nil, err
			}
			if fig.Ratio < noGain {
				low = b.Link.RTT
			} else {
				high = b.Link.RTT
			}
		}
		out[string(s)] = float64(high.Milliseconds())
	}
	return out, nil
}

func (f *simulateFlags) assumed(c simulate.Config) map[string]any {
	m := map[string]any{"target_step_ms": ms(f.step), "target_sequence_ms": ms(f.sequence), "target_token_ms": ms(f.token), "draft_token_ms": ms(f.draft),
		"agreement": f.agreement.rate, "agreement_spread": f.spread, "second_choice": f.second, "confidence": f.confidence,
		"prompt_tokens": f.prompt, "tokens": f.tokens, "sessions": f.sessions, "repeats": f.repeats, "link": c.Link.String(), "jitter_ms": ms(c.Link.Jitter), "uplink_bits_per_second": c.Link.Up.Rate,
		"objective": c.Objective.String(), "run_ahead": c.RunAhead, "branches": f.branches, "seed": f.seed, "vocabulary": 32000, "step_positions": f.positions}
	f.agreement.assumed(m)
	if len(c.Arrivals) > 0 {
		m["arrivals"], m["requests"], m["speed"] = f.arrivals, len(c.Arrivals), f.speed
	}
	return m
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (f *simulateFlags) assumptions(c simulate.Config) string {
	s := fmt.Sprintf("a target step takes %s + %s per session + %s per scored token, a drafted token %s; %s; 32,000 words in the vocabulary",
		f.step, f.sequence, f.token, f.draft, f.agreement.told(f))
	switch {
	case len(c.Arrivals) > 0:
		s += fmt.Sprintf("; %d requests of %s at %g times their speed share one target", len(c.Arrivals), f.arrivals, f.speed)
	case f.sessions > 1:
		s += fmt.Sprintf("; %d sessions of %d tokens share one target and begin within %s", f.sessions, f.tokens, f.within)
	default:
		s += fmt.Sprintf("; one session alone, %d tokens, repeated %d times", f.tokens, f.repeats)
	}
	return s + "."
}

func (r *simulated) table(w io.Writer, f *simulateFlags) {
	fmt.Fprintf(w, "Round trip %g ms, objective %s, run-ahead up to %g passes per token%s\n", r.RTT, r.Objective, r.MaxPasses, r.Link)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tms/token\tratio\t95 % interval\tfirst token ms\tpasses/token\tpositions/token\tdrafted/token\tbytes up/token\tacceptance\tmean length\t")
	row := func(name string, g simulate.Figures) {
		fmt.Fprintf(t, "%s\t%.1f\t%.3f\t%.3f-%.3f\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t\n", name, g.MsPerToken, g.Ratio, g.RatioLow, g.RatioHigh,
			g.FirstTokenMs, g.Passes, g.Positions, g.Drafted, g.Uplink, g.Acceptance, g.MeanLength)
	}
	row("outrider", r.Figures)
	for _, s := range []simulate.Strategy{simulate.CloudOnly, simulate.Synchronous, simulate.Pipelined, simulate.Colocated, simulate.Oracle} {
		if g, ok := r.Baselines[string(s)]; ok {
			row(string(s), g)
		}
	}
	_ = t.Flush() // to w, whose errors show on the next write
	var notes []string
	if f.sessions > 1 || r.Unfinished > 0 {
		notes = append(notes, fmt.Sprintf("all sessions together %.0f tokens/s, the target busy %.0f %% of the time", r.TokensPerSec, 100*r.TargetBusy))
	}
	if r.Cost > 0 {
		notes = append(notes, fmt.Sprintf("%.4g per million tokens while the target is kept busy, cloud-only %.4g", r.Cost,
			f.price*r.Baselines[string(simulate.CloudOnly)].TargetSeconds/3600))
	}
	for _, s := range []simulate.Strategy{simulate.CloudOnly, simulate.Colocated, simulate.Cooperative} {
		if n, ok := r.Capacity[string(s)]; ok {
			notes = append(notes, fmt.Sprintf("%s carries %d sessions at %g tokens/s", s, n, f.capacity))
		}
		if n, ok := r.BreakEven[string(s)]; ok {
			notes = append(notes, fmt.Sprintf("%s gains up to a round trip of %g ms", s, n))
		}
	}
	for _, s := range []simulate.Strategy{simulate.Synchronous, simulate.Pipelined} {
		if n, ok := r.BreakEven[string(s)]; ok {
			notes = append(notes, fmt.Sprintf("%s gains up to a round trip of %g ms", s, n))
		}
	}
	if len(notes) > 0 {
		fmt.Fprintf(w, "%s.\n", strings.Join(notes, "; "))
	}
	fmt.Fprintln(w)
}

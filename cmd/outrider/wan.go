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
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/simulate"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

type wanFlags struct {
	rtts               []time.Duration
	step, token, draft time.Duration
	agreement, spread  float64
	second, runAhead   float64
	tokens, rounds     int
	asJSON             bool
}

func newWAN() *cobra.Command {
	var f wanFlags
	c := &cobra.Command{
		Use:   "wan",
		Short: "Time per token over an emulated link, real processes against the simulation",
		Long: `Run a cloud process and the two model plugins (the mock engine, with given step times and
agreement), an edge in this process and an emulated link between them. Each round generates the same
tokens with Outrider, with a plain pipelined loop (chains, no run-ahead) and with the target alone,
one after the other, and the medians of the paired ratios stand next to what "outrider simulate" says
for the same sessions.`,
		Example: `  outrider bench wan --rtt 10ms,50ms
  outrider bench wan --rtt 50ms --rounds 9 --json | jq .ratio`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runWAN(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s := c.Flags()
	s.DurationSliceVar(&f.rtts, "rtt", []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}, "round-trip times")
	s.DurationVar(&f.step, "target-step", 40*time.Millisecond, "a target step costs this")
	s.DurationVar(&f.token, "target-token", 300*time.Microsecond, "and for each token that it scores this")
	s.DurationVar(&f.draft, "draft-token", 4*time.Millisecond, "a drafted token takes this")
	s.Float64Var(&f.agreement, "agreement", 0.8, "how often the draft's first choice is the target's, on average")
	s.Float64Var(&f.spread, "agreement-spread", 1.5, "at each position it is drawn from Beta(mean x this, (1-mean) x this)")
	s.Float64Var(&f.second, "second-choice", 0.5, "of the misses, how often the draft's second choice is right")
	s.Float64Var(&f.runAhead, "run-ahead", 1, "target passes per committed token at most")
	s.IntVarP(&f.tokens, "max-tokens", "n", 200, "tokens per session")
	s.IntVar(&f.rounds, "rounds", 5, "sessions of each kind per round trip")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object per round-trip time")
	return c
}

// wanReport is one line of `outrider bench wan --json`.
type wanReport struct {
	RTT            float64 `json:"rtt_ms"`
	Ratio          float64 `json:"ratio"` // of cloud-only streaming, median of the paired rounds
	RatioLow       float64 `json:"ratio_low"`
	RatioHigh      float64 `json:"ratio_high"`
	Pipelined      float64 `json:"pipelined_ratio"`
	Simulated      float64 `json:"simulated_ratio"`
	MsPerToken     float64 `json:"ms_per_token"`
	CloudOnly      float64 `json:"cloud_only_ms_per_token"`
	CloudOnlyIdeal float64 `json:"cloud_only_simulated_ms_per_token"`
	Passes         float64 `json:"target_passes_per_token"`
	Uplink         float64 `json:"uplink_payload_bytes_per_token"`
	Acceptance     float64 `json:"acceptance_rate"`
	Identical      bool    `json:"identical_to_target"`
}

// wan is a cloud, a draft and what they were told.
type wan struct {
	f     wanFlags
	cloud *server
	draft *backend.Host
	log   *slog.Logger
}

func runWAN(ctx context.Context, f wanFlags, w, stderr io.Writer) error {
	if f.tokens < 2 || f.rounds < 1 || len(f.rtts) == 0 {
		return usagef("--max-tokens must be at least 2, --rounds at least 1, --rtt not empty")
	}
	if _, err := simulate.Run(ctx, f.simulated(0, 1)); err != nil { // the same bounds
		return usageError{err}
	}
	tmp, err := newScratch()
	if err != nil {
		return err
	}
	defer tmp.remove()
	x := &wan{f: f, log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	x.cloud, err = startServer(ctx, tmp.dir, "cloud", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain", "1s", "--target", "mock",
		"--engine", "mock", "--option", "seed=7", "--option", "step="+f.step.String(), "--option", "position="+f.token.String())
	if err != nil {
		return fmt.Errorf("the cloud does not start: %w", err)
	}
	defer x.cloud.stop()
	x.draft, err = ModelConfig{Model: "mock", Engine: "mock", Options: map[string]string{"seed": "7", "step": f.draft.String(),
		"agreement": fmt.Sprint(f.agreement), "spread": fmt.Sprint(f.spread), "second": fmt.Sprint(f.second)}}.launch(ctx, "draft", x.log)
	if err != nil {
		return err
	}
	defer func() { _ = x.draft.Close() }() // nothing is left to lose
	if !f.asJSON {
		fmt.Fprintf(w, "Target %s + %s per token, draft %s per token, agreement %g; %d rounds of %d tokens, each way in turn.\n\n",
			f.step, f.token, f.draft, f.agreement, f.rounds, f.tokens)
	}
	var reports []wanReport
	for _, rtt := range f.rtts {
		r, err := x.measure(ctx, rtt)
		if err != nil {
			return err
		}
		if reports = append(reports, r); f.asJSON {
			if err := json.NewEncoder(w).Encode(r); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(stderr, "round trip %g ms: %.3f of cloud-only\n", r.RTT, r.Ratio)
		}
	}
	if !f.asJSON {
		wanTable(w, reports)
	}
	return nil
}

func wanTable(w io.Writer, reports []wanReport) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "RTT ms\tms/token\tcloud-only\tratio\trange\tsimulated\tpipelined\tpasses/token\tbytes up/token\tidentical\t")
	for _, r := range reports {
		fmt.Fprintf(t, "%g\t%.1f\t%.1f\t%.3f\t%.3f-%.3f\t%.3f\t%.3f\t%.2f\t%.1f\t%t\t\n", r.RTT, r.MsPerToken, r.CloudOnly, r.Ratio, r.RatioLow, r.RatioHigh,
			r.Simulated, r.Pipelined, r.Passes, r.Uplink, r.Identical)
	}
	_ = t.Flush() // to w, whose errors show on the next write
}

func (f *wanFlags) simulated(rtt time.Duration, sessions int) simulate.Config {
	return simulate.Config{Strategy: simulate.Cooperative, Sessions: sessions, Spread: time.Duration(sessions) * apart, Prompt: wanPrompt, Tokens: f.tokens,
		Branches: true, RunAhead: f.runAhead, Link: link.Config{RTT: rtt},
		Model: simulate.Model{Target: speculative.Cost{Step: f.step, Position: f.token}, Draft: f.draft, Agreement: f.agreement, Spread: f.spread,
			Second: f.second, Confidence: simulate.Calibrated}}
}

const (
	wanPrompt   = 16  // tokens
	wanSessions = 200 // that the simulation averages over
)

func (x *wan) measure(ctx context.Context, rtt time.Duration) (r wanReport, err error) {
	l, err := link.Listen(ctx, "127.0.0.1:0", link.Config{Target: x.cloud.addr(), RTT: rtt})
	if err != nil {
		return r, err
	}
	defer func() { _ = l.Close() }() // its connections are gone by then
	edges := [2]*edge.Edge{}
	for i, c := range []edge.Config{{Branches: true, RunAhead: x.f.runAhead}, {RunAhead: 0.001}} {
		c.Draft, c.Cloud, c.Logger = x.draft, l.Addr(), x.log
		if edges[i], err = edge.New(c); err != nil {
			return r, err
		}
		defer func() { _ = edges[i].Close() }() // ends streams, nothing to report
	}
	fig, err := simulate.Compare(ctx, x.f.simulated(rtt, wanSessions))
	if err != nil {
		return r, err
	}
	r = wanReport{RTT: ms(rtt), Simulated: fig.Ratio, Identical: true, CloudOnlyIdeal: ms(x.f.step + x.f.token)}
	var ratios, pipelined, with, alone []float64
	var u speculative.Usage
	tokens, uplink := 0.0, 0.0
	for round := -1; round < x.f.rounds; round++ { // the first connects and learns
		three := [3]edge.Summary{}
		var logs [3][]edge.Token
		for k := range three {
			on, request := edges[k%2], x.request(round)
			if k == 2 {
				on, request.NoDraft = edges[0], true
			}
			three[k], err = on.Generate(ctx, request, func(e edge.Event) error {
				for _, t := range e.Tokens {
					logs[k] = append(logs[k], t.ID)
				}
				return nil
			})
			if err != nil {
				return r, err
			}
			r.Identical = r.Identical && slices.Equal(logs[k], logs[0])
		}
		if round < 0 {
			continue
		}
		base := float64(three[2].Total)
		ratios, pipelined = append(ratios, float64(three[0].Total)/base), append(pipelined, float64(three[1].Total)/base)
		with, alone = append(with, ms(three[0].Total)/float64(three[0].Tokens)), append(alone, ms(three[2].Total)/float64(three[2].Tokens))
		tokens += float64(three[0].Tokens)
		uplink += float64(three[0].Uplink)
		u.Passes += three[0].Usage.Passes
		u.Judged += three[0].Usage.Judged
		u.Accepted += three[0].Usage.Accepted
	}
	r.Passes, r.Uplink, r.Acceptance = float64(u.Passes)/tokens, uplink/tokens, float64(u.Accepted)/float64(max(1, u.Judged))
	r.Ratio, r.RatioLow, r.RatioHigh = middle(ratios)
	r.Pipelined, _, _ = middle(pipelined)
	r.MsPerToken, _, _ = middle(with)
	r.CloudOnly, _, _ = middle(alone)
	return r, nil
}

func (x *wan) request(round int) edge.Request {
	tokens := make([]edge.Token, wanPrompt)
	for i := range tokens {
		tokens[i] = edge.Token(1 + (round+2)*1000 + i)
	}
	return edge.Request{Tokens: tokens, MaxTokens: x.f.tokens, IgnoreEnd: true}
}

// middle is the median of a few values, with the least and the greatest.
func middle(v []float64) (mid, low, high float64) {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]
}

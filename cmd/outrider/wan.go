package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/simulate"
	"github.com/outrider-llm/outrider/speculative"
)

type wanFlags struct {
	rtts               []time.Duration
	links              linksFlag
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
		Short: "Time and bytes per token over an emulated link, real processes against the simulation",
		Long: `Run a cloud process and the two model plugins (the mock engine, with given step times and
agreement), an edge in this process, and an emulated link between them, over mutual TLS. Each round
generates the same tokens in five ways, one after the other, beginning with another one each time: Outrider,
Outrider with edge.uplink: thrifty, a plain pipelined loop (chains, no run-ahead), a synchronous
draft-verify loop (at the depth that the simulation finds best), and the target alone. Beside the medians
of the paired ratios (with intervals that hold the true ones with 95 %) stands what "outrider simulate" says of the very same
tokens, hits and misses.

Bytes are counted from the first token on, up and down: messages, HTTP/2 frames, TLS records; TCP/IP headers
come on top.

` + presetHelp(),
		Example: `  outrider bench wan --rtt 10ms,50ms
  outrider bench wan --link lte --link rtt=50ms,up=25kbit,down=1mbit
  outrider bench wan --rtt 50ms --rounds 9 --json | jq .ratio`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runWAN(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s := c.Flags()
	s.DurationSliceVar(&f.rtts, "rtt", []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}, "round-trip times")
	s.Var(&f.links, "link", "links in place of --rtt (can be repeated): "+link.Forms)
	s.DurationVar(&f.step, "target-step", 40*time.Millisecond, "a target step costs this")
	s.DurationVar(&f.token, "target-token", 300*time.Microsecond, "and for each token that it scores this")
	s.DurationVar(&f.draft, "draft-token", 4*time.Millisecond, "a drafted token takes this")
	s.Float64Var(&f.agreement, "agreement", 0.8, "how often the draft's first choice is the target's, on average")
	s.Float64Var(&f.spread, "agreement-spread", 1.5, "at each position it is drawn from Beta(mean x this, (1-mean) x this)")
	s.Float64Var(&f.second, "second-choice", 0.5, "of the misses, how often the draft's second choice is right")
	s.Float64Var(&f.runAhead, "run-ahead", 1, "target passes per committed token at most")
	s.IntVarP(&f.tokens, "max-tokens", "n", 200, "tokens per session")
	s.IntVar(&f.rounds, "rounds", 7, "sessions of each kind per link")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object per link")
	return c
}

// wanFigures are those of one way over one link.
type wanFigures struct {
	Ratio      float64 `json:"ratio"` // of cloud-only streaming, median of the paired rounds
	RatioLow   float64 `json:"ratio_low"`
	RatioHigh  float64 `json:"ratio_high"`
	MsPerToken float64 `json:"ms_per_token"`
	Simulated  float64 `json:"simulated_ms_per_token"` // the same sessions on the virtual clock
	SimRatio   float64 `json:"simulated_ratio"`
	Difference float64 `json:"difference_percent"` // of the two, median of the rounds
	Beyond     float64 `json:"beyond_percent"`     // the same where steps and drafts take what they took
	Passes     float64 `json:"target_passes_per_token"`
	Acceptance float64 `json:"acceptance_rate"`
	Uplink     float64 `json:"uplink_payload_bytes_per_token"`
	Frames     float64 `json:"uplink_frame_bytes_per_token"`  // HTTP/2, payload included
	Records    float64 `json:"uplink_record_bytes_per_token"` // TLS, frames included
	Writes     float64 `json:"uplink_writes_per_token"`       // about the TCP segments
	Down       float64 `json:"downlink_record_bytes_per_token"`
}

// wanReport is one line of `outrider bench wan --json`: Outrider's figures, and those of all ways.
type wanReport struct {
	RTT  float64 `json:"rtt_ms"`
	Link string  `json:"link"`
	wanFigures
	Ways      map[string]*wanFigures `json:"ways"`
	Depth     int                    `json:"synchronous_depth"`
	Rounds    int                    `json:"rounds"`
	Identical bool                   `json:"identical_to_target"`
	StepLate  float64                `json:"step_late_ms"`  // a target step took so much longer than asked for
	DraftLate float64                `json:"draft_late_ms"` // likewise a drafted token, the way to its process included
	Load      [2]float64             `json:"load_average"`  // before and after
}

func runWAN(ctx context.Context, f wanFlags, w, stderr io.Writer) error {
	links := f.links.over(f.rtts, link.Config{})
	if f.tokens < 2 || f.rounds < 1 || len(links) == 0 {
		return usagef("--max-tokens must be at least 2, --rounds at least 1, --rtt not empty")
	}
	if _, err := simulate.Run(ctx, f.simulated(links[0])); err != nil { // the same bounds
		return usageError{err}
	}
	x, err := startWAN(ctx, f, stderr)
	if err != nil {
		return err
	}
	defer x.stop()
	if !f.asJSON {
		fmt.Fprintf(w, "Target %s + %s per token, draft %s per token, agreement %g; %d rounds of %d tokens, each way in turn, over mutual TLS.\n",
			f.step, f.token, f.draft, f.agreement, f.rounds, f.tokens)
	}
	for _, l := range links {
		r, err := x.measure(ctx, l)
		if err != nil {
			return err
		}
		if !f.asJSON {
			r.table(w)
		} else if err := json.NewEncoder(w).Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func (f *wanFlags) simulated(l link.Config) simulate.Config {
	return simulate.Config{Strategy: simulate.Cooperative, Sessions: 1, Prompt: wanPrompt, Tokens: f.tokens, Branches: true, RunAhead: f.runAhead, Link: l,
		Model: simulate.Model{Target: speculative.Cost{Step: f.step, Position: f.token}, Draft: f.draft, Agreement: f.agreement, Spread: f.spread,
			Second: f.second, Confidence: simulate.Calibrated}}
}

func (r *wanReport) table(w io.Writer) {
	fmt.Fprintf(w, "\n%s (load average %.1f, then %.1f)\n", r.Link, r.Load[0], r.Load[1])
	t := newTable(w)
	fmt.Fprintln(t, "\tms/token\tratio\t95 %\tsimulated\tdiffers\tbeyond\tpasses/token\tup/token: payload\tframes\tTLS\tsegments\tdown TLS\t")
	for _, way := range wanWays() {
		g := r.Ways[way]
		fmt.Fprintf(t, "%s\t%.1f\t%.3f\t%.3f-%.3f\t%.3f\t%+.1f %%\t%+.1f %%\t%.2f\t%.1f B\t%.1f B\t%.1f B\t%.2f\t%.1f B\t\n", way, g.MsPerToken, g.Ratio, g.RatioLow, g.RatioHigh,
			g.SimRatio, g.Difference, g.Beyond, g.Passes, g.Uplink, g.Frames, g.Records, g.Writes, g.Down)
	}
	_ = t.Flush() // to w, whose errors show on the next write
	fmt.Fprintf(w, "a target step took %.2f ms longer than asked for, a drafted token %.2f; beyond: what differs besides that\n", r.StepLate, r.DraftLate)
	fmt.Fprintf(w, "synchronous: %d tokens a round; all tokens identical to the target's: %t\n", r.Depth, r.Identical)
}

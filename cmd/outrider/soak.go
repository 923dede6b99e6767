package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/load"
	"github.com/outrider-llm/outrider/bench/report"
	"github.com/outrider-llm/outrider/models"
)

type soakFlags struct {
	load.SoakConfig
	pace              string
	html, svg, asJSON string
}

func newSoak() *cobra.Command {
	var f soakFlags
	c := &cobra.Command{
		Use:   "soak",
		Short: "Mixed load for long: is every answer right, does nothing grow",
		Long: `Start a cloud and an edge with the demo pair, as processes, and ask mixed things of the edge's HTTP API for long:
conversations, the target alone, the draft alone, private ones, mode auto, clients that cancel and clients whose
connection is reset; meanwhile the link between them is cut again and again, and now and then down for a second.

Every answer is compared with what was said before anything was wrong. Memory, goroutines and descriptors of edge,
cloud and both plugins are sampled and judged after a warm-up of a fifth of the time: a figure grows when its rise is
none by chance (Mann-Kendall, 1 %) and more than 5 % of its level (Theil-Sen). It ends with an error when one does,
or when an answer was wrong.`,
		Example: `  outrider bench soak --for 30m --html soak.html
  outrider bench soak --for 2m --clients 8 --pause 200ms`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSoak(c, &f) },
	}
	s := c.Flags()
	s.DurationVar(&f.For, "for", 30*time.Minute, "how long")
	s.IntVar(&f.Clients, "clients", 2, "that ask one thing after the other, at once")
	s.DurationVar(&f.Pause, "pause", 3*time.Second, "of a client between two conversations, on average")
	s.IntVar(&f.Tokens, "tokens", 24, "of each answer")
	s.DurationVar(&f.Every, "every", 5*time.Second, "take a sample")
	s.DurationVar(&f.HarmEvery, "harm-every", 20*time.Second, "cut the link; each fifth time it is down for a second")
	s.Uint64Var(&f.Seed, "seed", 1, "of the order of things")
	s.StringVar(&f.pace, "pace", "15ms+0.1ms", "time of a target step, as outrider cloud --pace has it")
	s.StringVar(&f.html, "html", "", "write the curves to this page")
	s.StringVar(&f.svg, "svg", "", "draw the curves to this SVG file")
	s.StringVar(&f.asJSON, "json", "", "write all figures and samples to this file")
	return c
}

func runSoak(c *cobra.Command, f *soakFlags) error {
	if f.For < time.Second || f.Clients < 1 || f.Pause <= 0 || f.Tokens < 2 || f.Every <= 0 || f.HarmEvery <= 0 {
		return usagef("--for must be at least 1s, --clients 1, --tokens 2, and --pause, --every and --harm-every above 0")
	}
	ctx := c.Context()
	s, err := startStack(ctx, stackConfig{draft: models.DraftName, rtt: 20 * time.Millisecond, cloudArgs: []string{"--pace", f.pace, "--log-level", "warn"},
		edgeArgs: []string{"--log-level", "error"}})
	if err != nil {
		return err
	}
	defer s.stop()
	f.URL = "http://" + s.edge.http()
	f.Processes = []load.Watched{{Name: "edge", Admin: "http://" + s.edge.admin()}, {Name: "cloud", Admin: "http://" + s.cloud.admin()},
		{Name: "draft plugin", PID: s.edge.child}, {Name: "target plugin", PID: s.cloud.child}}
	f.Harm = func(n int) {
		if n%5 == 4 {
			s.link.SetDown(true)
			time.AfterFunc(time.Second, func() { s.link.SetDown(false) })
			return
		}
		s.link.Cut()
	}
	f.Progress = func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) }
	r, err := load.RunSoak(ctx, f.SoakConfig)
	if err != nil {
		return err
	}
	fmt.Fprint(c.OutOrStdout(), r.String())
	if err := f.write(&r); err != nil {
		return err
	}
	return r.Check()
}

// write leaves the files that were asked for.
func (f *soakFlags) write(r *load.SoakReport) error {
	var curves []report.Curves
	for _, m := range r.Measures() {
		c := report.Curves{Title: m, X: "minutes", Y: m}
		for _, p := range r.Processes() {
			if l := (report.Line{Name: p}); r.Trends[p+": "+m] != (load.Trend{}) {
				l.X, l.Y = r.Curve(p, m)
				c.Lines = append(c.Lines, l)
			}
		}
		curves = append(curves, c)
	}
	if f.svg != "" {
		if err := os.WriteFile(f.svg, []byte(report.CurvesSVG(curves...)), 0o644); err != nil {
			return err
		}
	}
	if f.asJSON != "" {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f.asJSON, b, 0o600); err != nil {
			return err
		}
	}
	if f.html == "" {
		return nil
	}
	w, err := os.Create(f.html)
	if err != nil {
		return err
	}
	if err := report.CurvesHTML(w, "Outrider under mixed load", r.String(), curves...); err != nil {
		return err
	}
	return w.Close()
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// PricesConfig says what the cloud's work costs.
type PricesConfig struct {
	Input    float64 `koanf:"input" doc:"cost of a million prompt tokens that the target runs, in a unit of your choice, as the other prices" live:"yes"`
	Output   float64 `koanf:"output" doc:"cost of a million tokens that the target decides" live:"yes"`
	Pass     float64 `koanf:"pass" doc:"cost of a million passes of the target" live:"yes"`
	Position float64 `koanf:"position" doc:"cost of a million tokens that the target scores" live:"yes"`
}

func newStats() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "stats",
		Short: "What a running edge has done and saved",
		Long: `Ask a running edge what all its answers together have taken: where they were written, tokens by how they
came, the target's passes, bytes on the link, the estimated cost next to that of the target alone
(prices.*), and the energy of the device where it can be read. Totals begin with the edge, or go on from
the file edge.totals.`,
		Example: `  outrider stats
  outrider stats --json | jq .cost_saved`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			e, err := dialEdge(cfg.Edge.Listen)
			if err != nil {
				return err
			}
			defer func() { _ = e.Close() }() // nothing is left to lose
			m, err := e.Stats(c.Context(), &outriderv1.StatsRequest{})
			if err != nil {
				return e.explain(err)
			}
			t := edge.TotalsFromProto(m)
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(struct {
					edge.Totals
					Saved float64 `json:"cost_saved"`
				}{t, t.Saved()})
			}
			return printTotals(c.OutOrStdout(), &t, time.Now())
		},
	}
	addEdgeFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printTotals(out io.Writer, t *edge.Totals, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	share := func(n int) string { return fmt.Sprintf("%d (%.0f %%)", n, 100*float64(n)/float64(max(1, t.Tokens))) }
	fmt.Fprintf(w, "since\t%s (%s)\n", t.Since.Format(time.DateTime), now.Sub(t.Since).Round(time.Second))
	fmt.Fprintf(w, "answers\t%d: %d together, %d on the device, %d in the cloud; the cloud took over from the device %d times\n",
		t.Answers, t.Where[edge.Cooperative], t.Where[edge.OnDevice], t.Where[edge.InCloud], t.Escalated)
	fmt.Fprintf(w, "tokens\t%d, after prompts of %d\n", t.Tokens, t.PromptTokens)
	fmt.Fprintf(w, "  device alone\t%s\n  accepted\t%s\n  corrections\t%s\n  bonus\t%s\n  run ahead\t%s\n", share(t.Origins.Device), share(t.Origins.Accepted),
		share(t.Origins.Correction), share(t.Origins.Bonus), share(t.Origins.RunAhead))
	fmt.Fprintf(w, "cloud\t%d passes, %d positions, %d prompt tokens run\n", t.Passes, t.Positions, t.Prefilled)
	fmt.Fprintf(w, "link\t%d bytes up, %d down\n", t.Uplink, t.Downlink)
	if t.Priced {
		fmt.Fprintf(w, "cost\t%.6g; the target alone %.6g, saved %.6g\n", t.Cost, t.CostCloudOnly, t.Saved())
	} else {
		fmt.Fprintf(w, "cost\tnot known: set prices.*\n")
	}
	if t.EnergyKnown {
		fmt.Fprintf(w, "energy\t%.1f J of the whole device\n", t.Joules)
	} else {
		fmt.Fprintf(w, "energy\tnot known: this device does not tell, or not to this user\n")
	}
	return w.Flush()
}

// saveEvery is how often an edge saves what it keeps: totals, learned drafts.
const saveEvery = 30 * time.Second

// openLedger goes on from a file of totals, if one is named and there.
func openLedger(l *edge.Ledger, path string) error {
	if path == "" {
		return nil
	}
	text, err := readSmall(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.Load(text)
	}
	if err != nil {
		return usagef("edge.totals: %s cannot be gone on from: %w: move it away", path, err)
	}
	return nil
}

// keepSaved saves now and then until ctx is done, and at the end. what names it in the log.
func keepSaved(ctx context.Context, what string, save func() error, log *slog.Logger) {
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-t.C:
		}
		if err := save(); err != nil {
			log.Warn(what+" cannot be kept", "error", err)
		}
	}
}

func saveTotals(l *edge.Ledger, path string) error {
	text, err := json.Marshal(l.Totals())
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".totals-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/report"
	"github.com/outrider-llm/outrider/bench/simulate"
	"github.com/outrider-llm/outrider/bench/sweep"
)

// docTable is a table of docs/benchmarks.md that a command makes anew.
type docTable struct {
	name string
	make func(ctx context.Context, dir string, w io.Writer) error // dir: the page's folder
}

func docTables() []docTable {
	return []docTable{{"ratios", ratioTable}, {"cloud-draft", cloudDraftTable}, {"capacity", capacityTable}, {"step-cost", stepCostTable}, {"goodput", goodputTable}, {"acceptance", acceptanceTable}}
}

func newTables() *cobra.Command {
	var only []string
	var check bool
	c := &cobra.Command{
		Use:   "tables [FILE]",
		Short: "Make the generated tables of docs/benchmarks.md anew",
		Long: `Between <!-- table: NAME --> and <!-- end of table --> stand tables that this command makes: those of
the simulation by running it, which gives the same on every machine, those of a sweep from its records
in docs/data.`,
		Example: `  outrider bench tables docs/benchmarks.md
  outrider bench tables --only acceptance --check docs/benchmarks.md`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("name one page")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			page := filepath.Join("docs", "benchmarks.md")
			if len(args) > 0 {
				page = args[0]
			}
			return runTables(c.Context(), page, only, check, c.OutOrStdout())
		},
	}
	c.Flags().StringSliceVar(&only, "only", nil, "names of tables; default: all on the page")
	c.Flags().BoolVar(&check, "check", false, "change nothing, end with an error when a table is stale")
	return c
}

func runTables(ctx context.Context, page string, only []string, check bool, w io.Writer) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	made := text
	for _, t := range docTables() {
		region := regexp.MustCompile(`(?s)(<!-- table: ` + t.name + ` -->\n).*?(<!-- end of table -->)`)
		at := region.FindSubmatchIndex(made)
		if at == nil || (len(only) > 0 && !slices.Contains(only, t.name)) {
			continue
		}
		var b bytes.Buffer
		if err := t.make(ctx, filepath.Dir(page), &b); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
		fresh := bytes.Equal(made[at[3]:at[4]], b.Bytes())
		fmt.Fprintf(w, "%s: %s\n", t.name, map[bool]string{true: "fresh", false: "stale"}[fresh])
		if check && !fresh {
			return fmt.Errorf("table %s of %s is stale: run `outrider bench tables --only %s %s`", t.name, page, t.name, page)
		}
		made = slices.Concat(made[:at[3]], b.Bytes(), made[at[4]:])
	}
	if check || bytes.Equal(made, text) {
		return nil
	}
	return os.WriteFile(page, made, 0o644)
}

// ratioTable compares the ways of working on the virtual clock.
func ratioTable(ctx context.Context, _ string, w io.Writer) error {
	var runs []simulated
	if err := simulatedLines(ctx, &runs, "--rtt", "10ms,50ms,100ms,200ms", "--repeats", "300"); err != nil {
		return err
	}
	fmt.Fprint(w, "\n|")
	for i, r := range runs {
		fmt.Fprintf(w, "%s %g ms |", map[bool]string{true: " | RTT"}[i == 0], r.RTT)
	}
	fmt.Fprintf(w, "\n|%s\n", strings.Repeat("---|", len(runs)+1))
	row := func(name, format string, of func(*simulated) float64) {
		fmt.Fprintf(w, "| %s |", name)
		for i := range runs {
			fmt.Fprintf(w, " "+format+" |", of(&runs[i]))
		}
		fmt.Fprintln(w)
	}
	way := func(s simulate.Strategy) func(*simulated) float64 {
		return func(r *simulated) float64 { return r.Baselines[string(s)].Ratio }
	}
	row("synchronous loop at its best depth", "%.2f", way(simulate.Synchronous))
	row("pipelined, chains, no run-ahead", "%.2f", way(simulate.Pipelined))
	row("**outrider**", "**%.2f**", func(r *simulated) float64 { return r.Ratio })
	row("the same draft beside the target in the cloud", "%.2f", way(simulate.Colocated))
	row("oracle: the drafter knows what will hold", "%.2f", way(simulate.Oracle))
	row("outrider's bytes up per token", "%.0f", func(r *simulated) float64 { return r.Uplink })
	row("outrider's target passes per token", "%.2f", func(r *simulated) float64 { return r.Passes })
	fmt.Fprintln(w)
	return nil
}

// simulatedLines runs `outrider simulate --json`.
func simulatedLines(ctx context.Context, to *[]simulated, args ...string) error {
	c := newSimulate()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SetArgs(append([]string{"--json"}, args...))
	if err := c.ExecuteContext(ctx); err != nil {
		return err
	}
	for d := json.NewDecoder(&out); d.More(); {
		var r simulated
		if err := d.Decode(&r); err != nil {
			return err
		}
		*to = append(*to, r)
	}
	return nil
}

// capacityTable says how many sessions a target carries under three cost shapes.
func capacityTable(ctx context.Context, _ string, w io.Writer) error {
	fmt.Fprint(w, "\n| a step of 40 ms costs besides | cloud-only | draft beside the target | outrider |\n|---|---|---|---|\n")
	for _, shape := range costShapes() {
		var runs []simulated
		if err := simulatedLines(ctx, &runs, append([]string{"--rtt", "50ms", "--no-baselines", "--repeats", "5", "--capacity", "8"}, shape.flags...)...); err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %s |\n", shape.name, carried(&runs[0]))
	}
	fmt.Fprintln(w)
	return nil
}

// costShape is what a target's step costs besides the step itself, in words and as flags of simulate.
type costShape struct {
	name  string
	flags []string
}

func costShapes() []costShape {
	of := func(name, sequence, row string) costShape {
		return costShape{name, []string{"--target-sequence", sequence, "--target-token", row}}
	}
	return []costShape{of("0.3 ms per row", "0s", "0.3ms"), of("0.5 ms per session and 0.1 ms per row", "0.5ms", "0.1ms"),
		of("0.5 ms per session and 0.02 ms per row", "0.5ms", "0.02ms")}
}

func carried(r *simulated) string {
	return fmt.Sprintf("%d | %d | %d", r.Capacity[string(simulate.CloudOnly)], r.Capacity[string(simulate.Colocated)], r.Capacity[string(simulate.Cooperative)])
}

// stepCostTable says what steps were measured to cost, and how many sessions a target carries that costs the same.
func stepCostTable(ctx context.Context, dir string, w io.Writer) error {
	fmt.Fprint(w, "\n| model on llama.cpp | parameters | a step, ms | for each session | for each row | fit: median error, worst | cloud-only | draft beside the target | outrider |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range []string{"demo", "200m"} {
		r, err := readCost(filepath.Join(dir, "data", "step-cost-"+name+".json"))
		if err != nil {
			return err
		}
		c := r.Cost()
		var runs []simulated
		if err := simulatedLines(ctx, &runs, "--rtt", "50ms", "--no-baselines", "--repeats", "5", "--capacity", "8", "--target-step", c.Step.String(),
			"--target-sequence", c.Sequence.String(), "--target-token", c.Position.String()); err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %.1f million | %.2g | %.2g | %.2g | %.0f %%, %.0f %% | %s |\n", r.Model, float64(r.Parameters)/1e6, r.Step, r.Sequence, r.Position, 100*r.Error,
			100*r.Worst, carried(&runs[0]))
	}
	fmt.Fprintln(w)
	return nil
}

// goodputTable compares goodput with its bound under several loads.
func goodputTable(ctx context.Context, _ string, w io.Writer) error {
	loads := []string{"10", "50", "100", "200", "300"}
	fmt.Fprintf(w, "\n| a step of 40 ms costs besides | %s sessions |\n|%s\n", strings.Join(loads, " | "), strings.Repeat("---|", len(loads)+1))
	for _, shape := range costShapes() {
		fmt.Fprintf(w, "| %s |", shape.name)
		for _, n := range loads {
			var runs []simulated
			if err := simulatedLines(ctx, &runs, append([]string{"--rtt", "50ms", "--tokens", "20", "--goodput", "8", "--sessions", n}, shape.flags...)...); err != nil {
				return err
			}
			g := runs[0].Goodput
			fmt.Fprintf(w, " %.0f of %.0f, %.2f; %.2f, %.2f |", g.Goodput, g.Bound, g.Ratio, g.Fairness, g.Least)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	return nil
}

// acceptanceTable is made of the records that docs/benchmarks.md says how to measure.
func acceptanceTable(_ context.Context, dir string, w io.Writer) error {
	records, _, err := sweep.ReadFile(filepath.Join(dir, "data", "spec-bench-demo.jsonl.gz"))
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	report.Summarise(records).Markdown(w)
	fmt.Fprintln(w)
	return nil
}

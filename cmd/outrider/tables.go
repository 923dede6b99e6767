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
	return []docTable{{"ratios", ratioTable}, {"capacity", capacityTable}, {"acceptance", acceptanceTable}}
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
	for _, shape := range [][3]string{{"0s", "0.3ms", "0.3 ms per row"}, {"0.5ms", "0.1ms", "0.5 ms per session and 0.1 ms per row"},
		{"0.5ms", "0.02ms", "0.5 ms per session and 0.02 ms per row"}} {
		var runs []simulated
		if err := simulatedLines(ctx, &runs, "--rtt", "50ms", "--no-baselines", "--repeats", "5", "--capacity", "8", "--target-sequence", shape[0],
			"--target-token", shape[1]); err != nil {
			return err
		}
		n := runs[0].Capacity
		fmt.Fprintf(w, "| %s | %d | %d | %d |\n", shape[2], n[string(simulate.CloudOnly)], n[string(simulate.Colocated)], n[string(simulate.Cooperative)])
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

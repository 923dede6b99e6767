package main

import (
	"context"
	"fmt"
	"io"

	"github.com/outrider-llm/outrider/bench/simulate"
)

// cloudDraftTable says what a draft in the cloud gains, alone and beside the edge's, against co-located speculation.
func cloudDraftTable(ctx context.Context, _ string, w io.Writer) error {
	fmt.Fprint(w, "\n| agreement | RTT | draft on the edge | in the cloud | on both sides | co-located, best depth | both / co-located | passes per token |\n|---|---|---|---|---|---|---|---|\n")
	for _, agreement := range []string{"0", "0.5", "0.8", "0.95"} {
		var runs []simulated
		if err := simulatedLines(ctx, &runs, "--cloud-draft", "--rtt", "10ms,50ms,200ms,500ms", "--agreement", agreement); err != nil {
			return err
		}
		for _, r := range runs {
			of := func(s simulate.Strategy) float64 { return r.Baselines[string(s)].Ratio }
			fmt.Fprintf(w, "| %s | %g ms | %.2f | %.2f | **%.2f** | %.2f | %.2f | %.2f |\n", agreement, r.RTT, of(simulate.EdgeDrafting), of(simulate.CloudDrafting),
				r.Ratio, of(simulate.Colocated), r.Ratio/of(simulate.Colocated), r.Passes)
		}
	}
	fmt.Fprintln(w)
	return nil
}

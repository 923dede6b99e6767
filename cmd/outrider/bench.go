package main

import (
	"github.com/spf13/cobra"
)

func newBench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure and check: sweeps and reports, losslessness, load, turns, engines",
		Long:  `Measure and check what Outrider promises, on this machine or against a running cloud.`,
		Example: `  outrider bench lossless --n 20
  outrider bench turns
  outrider bench load --cloud 127.0.0.1:7600 --sessions 2000
  outrider bench control
  outrider bench api --clients 500
  outrider bench sweep --temperature 0,0.7 --rule coupled,rejection --out runs/x.jsonl
  outrider bench report runs/x.jsonl --html report.html`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newLossless(), newWAN(), newSweep(), newReport(), newRecord(), newTables(), newLoad(), newControl(), newAPILoad(), newTurns(), newEngines())
	return c
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/report"
	"github.com/outrider-llm/outrider/bench/sweep"
)

func newReport() *cobra.Command {
	var html, csv, title string
	var markdown bool
	c := &cobra.Command{
		Use:   "report FILE",
		Short: "Tables and plots of the records of a sweep: HTML, CSV, Markdown",
		Long: `Read the records that "outrider bench sweep" wrote (.gz too) and print medians with 95 % intervals,
paired comparisons, and warnings where noise swamps a difference. --html writes one page with plots
that needs nothing else, --csv one line for each combination of settings.`,
		Example: `  outrider bench report runs/spec.jsonl
  outrider bench report runs/spec.jsonl --html report.html --csv report.csv`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one file of records (see `%s --help`)", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			records, torn, err := sweep.ReadFile(args[0])
			if err != nil {
				return err
			}
			s := report.Summarise(records)
			if torn {
				s.Warnings = append(s.Warnings, "The file's last line is torn: a sweep was stopped while it wrote; the same command goes on with it.")
			}
			if title == "" {
				title = "Outrider: " + filepath.Base(args[0])
			}
			if html != "" {
				if err := toFile(html, func(w io.Writer) error { return s.HTML(w, title) }); err != nil {
					return err
				}
			}
			if csv != "" {
				if err := toFile(csv, s.CSV); err != nil {
					return err
				}
			}
			if markdown {
				s.Markdown(c.OutOrStdout())
			} else {
				printReport(c.OutOrStdout(), s)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&html, "html", "", "write the page to this file")
	f.StringVar(&csv, "csv", "", "write the table to this file")
	f.StringVar(&title, "title", "", "of the page")
	f.BoolVar(&markdown, "markdown", false, "print the tables of acceptance in Markdown instead")
	return c
}

func toFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	return firstOf(err, f.Close())
}

func printReport(w io.Writer, s *report.Summary) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "way\tgenerations\tms/token\tof cloud-only\tacceptance\tmean length\tpasses/token\tpositions/token\tbytes up/token")
	for _, g := range s.Groups {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Label, g.Runs, g.MsPerToken, g.Ratio, g.Acceptance, g.Length, g.Passes, g.Positions, g.Uplink)
	}
	fmt.Fprintln(t, "\nfirst\tsecond\tmeasure\tdifference\tverdict")
	for _, c := range s.Compared {
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s %s\t%s\n", c.What, c.A, c.B, c.Metric, c.Difference, c.Unit, c.Verdict)
	}
	_ = t.Flush() // to w, whose errors show on the next write
	for _, x := range s.Warnings {
		fmt.Fprintf(w, "warning: %s\n", x)
	}
}

package report

import (
	_ "embed" // the page
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"strconv"

	"github.com/outrider-llm/outrider/bench/sweep"
)

//go:embed page.html
var page string

// Row of the table of acceptance.
type Row struct {
	Rule, Drafter, Temperature string
	Acceptance, Length         Value
	Judged                     int
}

// Acceptances per rule, drafter and temperature; other settings are pooled.
func (s *Summary) Acceptances() (out []Row) {
	type id struct{ rule, drafter, temperature string }
	by := map[id][]sweep.Record{}
	for _, r := range s.all {
		if r.Way == sweep.Outrider && r.Settings["drafter"] != "none" {
			k := id{r.Settings["rule"], r.Settings["drafter"], r.Settings["temperature"]}
			if k.rule == "" {
				k.rule = "coupled"
			}
			by[k] = append(by[k], r)
		}
	}
	rules, drafters := map[string]bool{}, map[string]bool{}
	for k := range by {
		rules[k.rule], drafters[k.drafter] = true, true
	}
	for _, rule := range sortedKeys(rules) {
		for _, drafter := range sortedKeys(drafters) {
			for _, t := range s.temperatures() {
				records := by[id{rule, drafter, t}]
				row := Row{rule, drafter, t, acceptance(records), lengthOf(records), 0}
				for _, r := range records {
					row.Judged += r.Judged
				}
				if len(records) > 0 {
					out = append(out, row)
				}
			}
		}
	}
	return out
}

// Side is coupled against rejection under the same drafter and temperature.
type Side struct {
	Drafter, Temperature                           string
	Coupled, Rejection, CoupledLength, Rejectional Value
}

// Sides compares the two lossless rules; empty when one of them is missing.
func (s *Summary) Sides() (out []Side) {
	rows := s.Acceptances()
	for _, a := range rows {
		for _, b := range rows {
			if a.Rule == "coupled" && b.Rule == "rejection" && a.Drafter == b.Drafter && a.Temperature == b.Temperature {
				out = append(out, Side{a.Drafter, a.Temperature, a.Acceptance, b.Acceptance, a.Length, b.Length})
			}
		}
	}
	return out
}

// HTML writes one page that needs nothing else.
func (s *Summary) HTML(w io.Writer, title string) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"Title": title, "S": s, "Plots": s.plots(), "Acceptances": s.Acceptances(), "Sides": s.Sides()})
}

// CSV writes one line for each group, with units in the header.
func (s *Summary) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	var names []string
	if len(s.Groups) > 0 {
		for _, g := range s.Groups {
			for k := range g.Settings {
				names = append(names, k)
			}
		}
		seen := map[string]bool{}
		for _, n := range names {
			seen[n] = true
		}
		names = sortedKeys(seen)
	}
	head := append([]string{"way"}, names...)
	head = append(head, "rtt_ms", "generations", "prompts")
	metrics := []string{"ms_per_token", "ratio_to_cloud_only", "first_token_ms", "acceptance_rate", "mean_acceptance_length", "target_passes_per_token",
		"scored_positions_per_token", "uplink_payload_bytes_per_token", "drafted_per_token"}
	for _, m := range metrics {
		head = append(head, m, m+"_low", m+"_high")
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for _, g := range s.Groups {
		line := []string{g.Way}
		for _, n := range names {
			line = append(line, g.Settings[n])
		}
		line = append(line, number(g.RTT), strconv.Itoa(g.Runs), strconv.Itoa(g.MsPerToken.N))
		for _, v := range []Value{g.MsPerToken, g.Ratio, g.FirstToken, g.Acceptance, g.Length, g.Passes, g.Positions, g.Uplink, g.Draft} {
			if !v.known() {
				line = append(line, "", "", "")
				continue
			}
			line = append(line, number(v.Mid), number(v.Low), number(v.High))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// Markdown writes the table of acceptance, and of the two lossless rules side by side where both are there.
func (s *Summary) Markdown(w io.Writer) {
	fmt.Fprintln(w, "| rule | drafter | temperature | acceptance rate | mean acceptance length, tokens | judged |\n|---|---|---|---|---|---|")
	for _, r := range s.Acceptances() {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %d |\n", r.Rule, r.Drafter, r.Temperature, r.Acceptance, r.Length, r.Judged)
	}
	if sides := s.Sides(); len(sides) > 0 {
		fmt.Fprintln(w, "\n| drafter | temperature | coupled: acceptance | rejection: acceptance | coupled: length | rejection: length |\n|---|---|---|---|---|---|")
		for _, d := range sides {
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", d.Drafter, d.Temperature, d.Coupled, d.Rejection, d.CoupledLength, d.Rejectional)
		}
	}
}

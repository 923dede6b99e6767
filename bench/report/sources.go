package report

import (
	"fmt"
	"io"

	"github.com/outrider-llm/outrider/bench/sweep"
)

// drafterOf names where a record's proposals come from, the cloud's own among them.
func drafterOf(r *sweep.Record) string {
	if d := r.Settings["cloud-draft"]; d != "" && d != "off" {
		return r.Settings["drafter"] + ", in the cloud " + d
	}
	return r.Settings["drafter"]
}

func ruleOf(r *sweep.Record) string {
	if rule := r.Settings["rule"]; rule != "" {
		return rule
	}
	return "coupled"
}

// SourceRow is what one source of proposals was worth.
type SourceRow struct {
	Rule, Drafter, Temperature, Source string
	Proposed                           int
	PerToken                           Value // positions with a proposal, of the answers' tokens
	Right                              Value // of the proposals
	Ms                                 Value // that the source took for each token of the answers
}

// Sources per rule, drafter and temperature; other settings are pooled.
func (s *Summary) Sources() (out []SourceRow) {
	type id struct{ rule, drafter, temperature string }
	by := map[id][]sweep.Record{}
	names, rules, drafters := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range s.all {
		if r.Way != sweep.Outrider {
			continue
		}
		k := id{ruleOf(&r), drafterOf(&r), r.Settings["temperature"]}
		by[k] = append(by[k], r)
		rules[k.rule], drafters[k.drafter] = true, true
		for n := range r.Sources {
			names[n] = true
		}
	}
	for _, rule := range sortedKeys(rules) {
		for _, drafter := range sortedKeys(drafters) {
			for _, t := range s.temperatures() {
				for _, n := range sortedKeys(names) {
					if row := sourceRow(by[id{rule, drafter, t}], n); row.Proposed > 0 {
						row.Rule, row.Drafter, row.Temperature = rule, drafter, t
						out = append(out, row)
					}
				}
			}
		}
	}
	return out
}

func sourceRow(records []sweep.Record, source string) SourceRow {
	row := SourceRow{Source: source}
	for _, r := range records {
		row.Proposed += r.Sources[source].Proposed
	}
	row.PerToken = rate(records, func(r *sweep.Record) (int, int) { return r.Sources[source].Proposed, r.Tokens })
	row.Right = rate(records, func(r *sweep.Record) (int, int) { return r.Sources[source].Accepted, r.Sources[source].Proposed })
	const micro = 1000
	row.Ms = rate(records, func(r *sweep.Record) (int, int) { return int(r.Sources[source].Ms * micro), r.Tokens * micro })
	return row
}

// sourcesMarkdown writes what the sources were worth under the coupled rule.
func (s *Summary) sourcesMarkdown(w io.Writer) {
	first := true
	for _, r := range s.Sources() {
		if r.Rule != "coupled" {
			continue
		}
		if first {
			fmt.Fprintln(w, "\n| drafter | temperature | source | proposes at, of the tokens | of these right | ms per token |\n|---|---|---|---|---|---|")
			first = false
		}
		took := fmt.Sprintf("%.2g", r.Ms.Mid)
		if r.Source == "cloud" {
			took = "" // within the target's step
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2g | %s | %s |\n", r.Drafter, r.Temperature, r.Source, r.PerToken.Mid, r.Right, took)
	}
}

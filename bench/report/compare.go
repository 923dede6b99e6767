package report

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/outrider-llm/outrider/bench/sweep"
)

// Comparison of two values of one setting, or of two ways, everything else and the prompt being equal.
type Comparison struct {
	What, A, B string
	Metric     string
	Unit       string // of the difference
	Difference Value  // B - A: the median over pairs
	P          float64
	Pairs      int
	Verdict    string
	Shown      bool // the difference is larger than the noise
}

// measured is what two records are compared by.
type measured struct {
	name, unit string
	of         func(a, b *sweep.Record) (float64, bool)
}

func measures() []measured {
	rate := func(a, b int) float64 { return float64(a) / float64(b) }
	return []measured{
		{"time per token", "%", func(a, b *sweep.Record) (float64, bool) {
			return 100 * (b.MsPerToken/a.MsPerToken - 1), a.MsPerToken > 0
		}},
		{"acceptance rate", "points", func(a, b *sweep.Record) (float64, bool) {
			if a.Judged == 0 || b.Judged == 0 {
				return 0, false
			}
			return 100 * (rate(b.Accepted, b.Judged) - rate(a.Accepted, a.Judged)), true
		}},
		{"mean acceptance length", "tokens", func(a, b *sweep.Record) (float64, bool) {
			if a.Scoring == 0 || b.Scoring == 0 {
				return 0, false
			}
			return rate(b.Accepted, b.Scoring) - rate(a.Accepted, a.Scoring), true
		}},
		{"target passes per token", "%", func(a, b *sweep.Record) (float64, bool) {
			return 100 * (rate(b.Passes, b.Tokens)/rate(a.Passes, a.Tokens) - 1), a.Passes > 0
		}},
	}
}

// compare fills in all comparisons: of Outrider with each baseline, and of each setting's values.
func (s *Summary) compare() {
	var own []sweep.Record
	others := map[string][]sweep.Record{}
	for _, r := range s.all {
		if r.Way == sweep.Outrider {
			own = append(own, r)
		} else {
			others[wayOf(&r)] = append(others[wayOf(&r)], r)
		}
	}
	for _, way := range sortedKeys(others) {
		var names []string // settings that matter to the baseline
		for k := range others[way][0].Settings {
			names = append(names, k)
		}
		sort.Strings(names)
		id := func(r *sweep.Record) string { return place(r, names) }
		s.pair("way", way, string(sweep.Outrider), others[way], own, id, measures()[:1])
	}
	for _, k := range s.Varying {
		byValue := map[string][]sweep.Record{}
		for _, r := range own {
			if v, ok := r.Settings[k]; ok {
				byValue[v] = append(byValue[v], r)
			}
		}
		values := sortedKeys(byValue)
		slices.SortFunc(values, compareValues)
		var names []string
		for _, o := range s.Varying {
			if o != k {
				names = append(names, o)
			}
		}
		id := func(r *sweep.Record) string { return place(r, names) }
		for _, v := range values[min(1, len(values)):] {
			s.pair(k, values[0], v, byValue[values[0]], byValue[v], id, measures())
		}
	}
	s.judge()
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// pair compares records of the same id.
func (s *Summary) pair(what, nameA, nameB string, a, b []sweep.Record, id func(*sweep.Record) string, by []measured) {
	first := map[string]*sweep.Record{}
	for i := range a {
		first[id(&a[i])] = &a[i]
	}
	for _, m := range by {
		prompts := map[string][]float64{}
		n := 0
		for i := range b {
			if x := first[id(&b[i])]; x != nil {
				if d, ok := m.of(x, &b[i]); ok && !math.IsNaN(d) && !math.IsInf(d, 0) {
					prompts[b[i].Prompt] = append(prompts[b[i].Prompt], d)
					n++
				}
			}
		}
		if n == 0 {
			continue
		}
		var clusters [][]float64
		var signs []float64
		for _, p := range sortedKeys(prompts) {
			clusters = append(clusters, prompts[p])
			signs = append(signs, median(slices.Clone(prompts[p])))
		}
		s.Compared = append(s.Compared, Comparison{What: what, A: nameA, B: nameB, Metric: m.name, Unit: m.unit,
			Difference: medianOf(clusters), P: signTest(signs), Pairs: n})
	}
}

// least prompts with which a sign test can show anything at 5 %.
const fewPrompts = 6

// judge says which differences are larger than the noise: the interval holds no zero, and the sign test
// holds after Holm's correction for the number of comparisons.
func (s *Summary) judge() {
	order := make([]*Comparison, len(s.Compared))
	for i := range s.Compared {
		order[i] = &s.Compared[i]
	}
	slices.SortStableFunc(order, func(a, b *Comparison) int {
		switch {
		case a.P < b.P:
			return -1
		case a.P > b.P:
			return 1
		}
		return 0
	})
	holds := true
	for i, c := range order {
		holds = holds && c.P*float64(len(order)-i) <= 0.05
		d := c.Difference
		clear := (d.Low > 0) == (d.High > 0) && d.Low != 0 && d.High != 0
		switch {
		case d.N < fewPrompts:
			c.Verdict = fmt.Sprintf("too few prompts (%d) to tell", d.N)
		case !clear:
			c.Verdict = "no difference shown: the interval holds 0"
		case c.P > 0.05:
			c.Verdict = fmt.Sprintf("no difference shown: the signs are mixed (p = %.2g)", c.P)
		case !holds:
			c.Verdict = fmt.Sprintf("weak: p = %.2g would come by chance among %d comparisons", c.P, len(order))
		default:
			c.Shown, c.Verdict = true, fmt.Sprintf("shown (p = %.2g)", c.P)
		}
	}
}

// warn lists what a reader must know before believing a figure.
func (s *Summary) warn(records []sweep.Record) {
	add := func(format string, a ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, a...)) }
	if s.Failed > 0 {
		add("%d of %d generations failed and are left out.", s.Failed, s.Records)
	}
	versions, machines := map[string]bool{}, map[string]bool{}
	busy, loads, cut, inexact := 0, 0, 0, 0
	for _, r := range records {
		versions[r.Version] = true
		machines[fmt.Sprint(r.Origin.Machine)] = true
		if r.Load >= 0 {
			loads++
		}
		if r.Load > float64(max(1, r.Origin.Machine.Cores)) {
			busy++
		}
		if r.Cut {
			cut++
		}
		if !r.Exact && r.Failure == "" {
			inexact++
		}
	}
	if len(versions) > 1 {
		add("The records come from %d versions of the program.", len(versions))
	}
	if len(machines) > 1 {
		add("The records come from %d machines: times of one are not those of another.", len(machines))
	}
	if busy*10 > loads {
		add("In %d of %d generations more processes wanted to run than the machine has cores: times are longer and noisier than they should be.", busy, loads)
	}
	if cut > 0 {
		add("In %d of %d generations the prompt was cut to what the models' context holds.", cut, len(records))
	}
	if inexact > 0 {
		add("%d of %d generations are not promised to be exactly the target's.", inexact, len(records))
	}
	if d, n := s.differing(); d > 0 {
		add("%d of %d generations of Outrider under the coupled rule have another text than the target alone.", d, n)
	}
	few := 0
	for _, g := range s.Groups {
		if g.MsPerToken.N < fewPrompts {
			few++
		}
	}
	if few > 0 {
		add("%d of %d rows stand on fewer than %d prompts: their intervals say little.", few, len(s.Groups), fewPrompts)
	}
	var noise []string
	for _, c := range s.Compared {
		if !c.Shown && c.Difference.N >= fewPrompts && c.Metric == "time per token" {
			noise = append(noise, fmt.Sprintf("%s: %s and %s", c.What, c.A, c.B))
		}
	}
	if len(noise) > 0 {
		add("Noise swamps the difference in time per token between %s.", strings.Join(noise, "; "))
	}
}

// differing counts generations whose text should be the target's and is not.
func (s *Summary) differing() (differ, all int) {
	alone := s.alone()
	for i := range s.all {
		r := &s.all[i]
		if rule := r.Settings["rule"]; r.Way != sweep.Outrider || (rule != "" && rule != "coupled") {
			continue
		}
		if _, b := alone(r); b != nil {
			if all++; b.Output != r.Output {
				differ++
			}
		}
	}
	return differ, all
}

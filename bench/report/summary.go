// Package report makes tables and plots of the records of a sweep: medians with bootstrap intervals,
// paired comparisons, and warnings where noise swamps a difference.
package report

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/outrider-llm/outrider/bench/sweep"
)

// Group is all generations of one way with one set of settings.
type Group struct {
	Way      string
	Settings map[string]string // all, those that are the same everywhere too
	Label    string            // the way and the settings that vary
	RTT      float64           // ms
	Runs     int

	MsPerToken, FirstToken           Value // median over generations, ms
	Ratio                            Value // of cloud-only streaming, median over pairs; N 0: no pairs
	Acceptance, Length               Value // accepted per judged; committed tokens per pass with a proposal
	Passes, Positions, Uplink, Draft Value // per token: target passes, rows scored, bytes, tokens drafted

	records []sweep.Record
}

// Summary of a file of records.
type Summary struct {
	Groups   []*Group
	Varying  []string // settings of which there are several values
	Tasks    []string
	Records  int
	Failed   int
	Origin   []string // what it was measured with
	Warnings []string
	Compared []Comparison

	all []sweep.Record
}

// way of a record, with how many tokens it drafts at a time.
func wayOf(r *sweep.Record) string {
	if r.Depth > 0 {
		return fmt.Sprintf("%s, %d at a time", r.Way, r.Depth)
	}
	return string(r.Way)
}

// settingsOf a record, with what else may differ within a file.
func settingsOf(r *sweep.Record) map[string]string {
	s := map[string]string{"workload": r.Workload, "models": r.Origin.Target.Name + " / " + r.Origin.Draft.Name, "pace": r.Origin.Pace}
	if r.Origin.Target.Engine == "mock" {
		s["models"] = r.Origin.Target.Fingerprint + " / " + r.Origin.Draft.Fingerprint
	}
	for k, v := range r.Settings {
		s[k] = v
	}
	return s
}

// Summarise records; their order does not matter.
func Summarise(records []sweep.Record) *Summary {
	s := &Summary{Records: len(records)}
	groups, values, tasks := map[string]*Group{}, map[string]map[string]bool{}, map[string]bool{}
	for _, r := range records {
		if r.Failure != "" || r.Tokens == 0 {
			s.Failed++
			continue
		}
		s.all = append(s.all, r)
		tasks[r.Task] = true
		settings := settingsOf(&r)
		id := wayOf(&r) + fmt.Sprint(settings)
		g := groups[id]
		if g == nil {
			g = &Group{Way: wayOf(&r), Settings: settings, RTT: r.RTT}
			groups[id] = g
			s.Groups = append(s.Groups, g)
		}
		g.records = append(g.records, r)
		for k, v := range settings {
			if values[k] == nil {
				values[k] = map[string]bool{}
			}
			values[k][v] = true
		}
	}
	for k, v := range values {
		if len(v) > 1 {
			s.Varying = append(s.Varying, k)
		}
	}
	sort.Strings(s.Varying)
	for t := range tasks {
		s.Tasks = append(s.Tasks, t)
	}
	sort.Strings(s.Tasks)
	alone := s.alone()
	for _, g := range s.Groups {
		g.Label = g.label(s.Varying)
		g.measure(alone)
	}
	slices.SortFunc(s.Groups, func(a, b *Group) int { return compareLabels(a, b, s.Varying) })
	s.Origin = origins(records)
	s.compare()
	s.warn(records)
	return s
}

func (g *Group) label(varying []string) string {
	parts := []string{g.Way}
	for _, k := range varying {
		if v := g.Settings[k]; v != "" {
			parts = append(parts, k+" "+v)
		}
	}
	return strings.Join(parts, " · ")
}

func compareLabels(a, b *Group, varying []string) int {
	if o := strings.Compare(order(a.Way), order(b.Way)); o != 0 {
		return o
	}
	for _, k := range varying {
		if o := compareValues(a.Settings[k], b.Settings[k]); o != 0 {
			return o
		}
	}
	return 0
}

// order puts Outrider first.
func order(way string) string {
	if strings.HasPrefix(way, string(sweep.Outrider)) {
		return " " + way
	}
	return way
}

func compareValues(a, b string) int {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err1 == nil && err2 == nil {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	if d := sweep.RTT(a) - sweep.RTT(b); d != 0 {
		return int(d)
	}
	return strings.Compare(a, b)
}

// alone maps what cloud-only streaming was measured with to its time per token.
func (s *Summary) alone() func(r *sweep.Record) (float64, *sweep.Record) {
	type at struct{ id string }
	m := map[at]*sweep.Record{}
	var names []string
	for i := range s.all {
		r := &s.all[i]
		if r.Way != sweep.CloudOnly {
			continue
		}
		if names == nil {
			for k := range r.Settings {
				names = append(names, k)
			}
			sort.Strings(names)
		}
		m[at{place(r, names)}] = r
	}
	return func(r *sweep.Record) (float64, *sweep.Record) {
		if b := m[at{place(r, names)}]; b != nil && r.Way != sweep.Colocated {
			return b.MsPerToken, b
		}
		return 0, nil
	}
}

// place names a prompt under the named settings.
func place(r *sweep.Record, names []string) string {
	t := r.Origin.Target
	t.Numerics = "" // not every way is told them
	id := fmt.Sprint(r.Workload, "\x00", r.Prompt, "\x00", r.Repeat, "\x00", r.Seed, "\x00", t, r.Origin.Pace)
	for _, k := range names {
		id += "\x00" + k + "=" + r.Settings[k]
	}
	return id
}

// byPrompt sorts records into prompts.
func byPrompt(records []sweep.Record) [][]sweep.Record {
	at := map[string]int{}
	var out [][]sweep.Record
	for _, r := range records {
		i, ok := at[r.Prompt]
		if !ok {
			i = len(out)
			at[r.Prompt] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], r)
	}
	return out
}

func (g *Group) measure(alone func(*sweep.Record) (float64, *sweep.Record)) {
	prompts := byPrompt(g.records)
	g.Runs = len(g.records)
	n := len(prompts)
	each := make([][]float64, n)
	first := make([][]float64, n)
	var ratios [][]float64
	sums := make([][]float64, 8)
	for i := range sums {
		sums[i] = make([]float64, n)
	}
	for i, p := range prompts {
		var own []float64
		for _, r := range p {
			each[i], first[i] = append(each[i], r.MsPerToken), append(first[i], r.FirstToken)
			if ms, _ := alone(&r); ms > 0 {
				own = append(own, r.MsPerToken/ms)
			}
			for k, v := range []int{r.Tokens, r.Judged, r.Accepted, r.Scoring, r.Passes, r.Positions, r.Uplink, r.Drafted} {
				sums[k][i] += float64(v)
			}
		}
		if len(own) > 0 {
			ratios = append(ratios, own)
		}
	}
	tokens, judged, accepted, scoring := sums[0], sums[1], sums[2], sums[3]
	gained := make([]float64, n)
	for i := range gained {
		gained[i] = accepted[i] + scoring[i]
	}
	g.MsPerToken, g.FirstToken = medianOf(each), medianOf(first)
	if len(ratios) > 0 {
		g.Ratio = medianOf(ratios)
	}
	g.Acceptance, g.Length = ratioOf(accepted, judged), ratioOf(gained, scoring)
	g.Passes, g.Positions, g.Uplink, g.Draft = ratioOf(sums[4], tokens), ratioOf(sums[5], tokens), ratioOf(sums[6], tokens), ratioOf(sums[7], tokens)
}

// origins says with what it was measured, one line for each combination.
func origins(records []sweep.Record) (out []string) {
	for _, r := range records {
		o := r.Origin
		line := fmt.Sprintf("outrider %s on %s, %s, %d cores; target %s (%s, %s), draft %s (%s, %s)", r.Version, o.Machine.System, o.Machine.Processor,
			o.Machine.Cores, o.Target.Name, o.Target.Engine, o.Target.Fingerprint, o.Draft.Name, o.Draft.Engine, o.Draft.Fingerprint)
		if o.Pace != "" {
			line += ", target paced at " + o.Pace
		}
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

func (v Value) known() bool { return v.N > 0 && !math.IsNaN(v.Mid) }

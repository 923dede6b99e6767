package report

import (
	"html/template"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/bench/sweep"
)

// kind names what a proposal came by: the settings of rule and drafter where they vary.
func (s *Summary) kind(r *sweep.Record, settings ...string) string {
	var parts []string
	for _, k := range settings {
		if slices.Contains(s.Varying, k) && r.Settings[k] != "" {
			parts = append(parts, k+" "+r.Settings[k])
		}
	}
	if len(parts) == 0 {
		return string(sweep.Outrider)
	}
	return strings.Join(parts, " · ")
}

// split sorts Outrider's records by kind.
func (s *Summary) split(settings ...string) (names []string, by map[string][]sweep.Record) {
	by = map[string][]sweep.Record{}
	for _, r := range s.all {
		if r.Way == sweep.Outrider && r.Settings["drafter"] != "none" {
			k := s.kind(&r, settings...)
			by[k] = append(by[k], r)
		}
	}
	names = sortedKeys(by)
	return names, by
}

func (s *Summary) plots() (out []template.HTML) {
	for _, p := range []*plot{s.overRTT(), s.pareto("target passes per token", func(g *Group) Value { return g.Passes }),
		s.pareto("scored positions per token", func(g *Group) Value { return g.Positions }), s.byPosition(), s.byTask(),
		s.byTemperature("Acceptance rate", "accepted / judged", acceptance, 1), s.byTemperature("Mean acceptance length", "tokens committed per pass with a proposal", lengthOf, 0)} {
		if h := p.svg(); h != "" {
			out = append(out, h)
		}
	}
	return out
}

func acceptance(records []sweep.Record) Value {
	return rate(records, func(r *sweep.Record) (int, int) { return r.Accepted, r.Judged })
}

func lengthOf(records []sweep.Record) Value {
	return rate(records, func(r *sweep.Record) (int, int) { return r.Accepted + r.Scoring, r.Scoring })
}

func rate(records []sweep.Record, of func(*sweep.Record) (int, int)) Value {
	var above, below []float64
	for _, p := range byPrompt(records) {
		a, b := 0.0, 0.0
		for i := range p {
			x, y := of(&p[i])
			a, b = a+float64(x), b+float64(y)
		}
		if b > 0 {
			above, below = append(above, a), append(below, b)
		}
	}
	if len(above) == 0 {
		return Value{}
	}
	return ratioOf(above, below)
}

func times(records []sweep.Record) Value {
	var each [][]float64
	for _, p := range byPrompt(records) {
		var v []float64
		for _, r := range p {
			v = append(v, r.MsPerToken)
		}
		each = append(each, v)
	}
	return medianOf(each)
}

// overRTT: settings other than link, rule and drafter are pooled; each loop is shown at the depth that
// turned out best there.
func (s *Summary) overRTT() *plot {
	p := &plot{title: "Time per token against round trip (median, 95 %)", x: "round trip, ms", y: "ms per token", fromZero: true}
	type line struct {
		name string
		at   map[float64][]sweep.Record
	}
	var lines []line
	add := func(name string, r sweep.Record) {
		i := slices.IndexFunc(lines, func(l line) bool { return l.name == name })
		if i < 0 {
			i = len(lines)
			lines = append(lines, line{name, map[float64][]sweep.Record{}})
		}
		lines[i].at[r.RTT] = append(lines[i].at[r.RTT], r)
	}
	rtts := map[float64]bool{}
	for _, r := range s.all {
		if r.Way != sweep.Colocated {
			rtts[r.RTT] = true
		}
	}
	for _, r := range s.all {
		switch {
		case r.Way == sweep.Colocated: // it knows no link but for one round trip
			for t := range rtts {
				x := r
				x.RTT, x.MsPerToken = t, (x.Total+t)/float64(x.Tokens)
				add(wayOf(&x), x)
			}
		case r.Way == sweep.Outrider:
			name := s.kind(&r, "rule", "drafter")
			if name != string(sweep.Outrider) {
				name = "outrider, " + name
			}
			add(name, r)
		default:
			add(wayOf(&r), r)
		}
	}
	for _, l := range lines {
		out := series{name: l.name, line: true}
		for t, records := range l.at {
			out.points = append(out.points, point{x: t, y: times(records), label: short(t) + " ms"})
		}
		slices.SortFunc(out.points, func(a, b point) int { return int(a.x*1000 - b.x*1000) })
		p.series = append(p.series, out)
	}
	slices.SortStableFunc(p.series, func(a, b series) int { return strings.Compare(order(a.name), order(b.name)) })
	return p
}

// pareto marks the groups that no other one beats in both.
func (s *Summary) pareto(x string, of func(*Group) Value) *plot {
	p := &plot{title: "Latency and cloud work: the ringed ones are beaten by none in both", x: x, y: "ms per token"}
	for _, g := range s.Groups {
		i := slices.IndexFunc(p.series, func(l series) bool { return l.name == g.Way })
		if i < 0 {
			i = len(p.series)
			p.series = append(p.series, series{name: g.Way})
		}
		best := true
		for _, o := range s.Groups {
			if o.RTT == g.RTT && o.MsPerToken.Mid <= g.MsPerToken.Mid && of(o).Mid <= of(g).Mid && (o.MsPerToken.Mid < g.MsPerToken.Mid || of(o).Mid < of(g).Mid) {
				best = false
			}
		}
		if of(g).known() && g.MsPerToken.known() {
			p.series[i].points = append(p.series[i].points, point{x: of(g).Mid, y: g.MsPerToken, label: g.Label, emphasise: best})
		}
	}
	return p
}

// places of a proposal that are plotted.
const places = 12

// positions counts, of the k-th token after the target's last own one, how often it was judged and how
// often accepted: a correction is a miss, the target's other own tokens tell nothing.
func positions(records []sweep.Record) (hits, judged [places]float64) {
	for _, r := range records {
		k := 0
		for _, f := range r.Fates {
			if k < places && (f == 'a' || f == 'c') {
				judged[k]++
				if f == 'a' {
					hits[k]++
				}
			}
			if f == 'a' {
				k++
			} else {
				k = 0
			}
		}
	}
	return hits, judged
}

func (s *Summary) byPosition() *plot {
	p := &plot{title: "Acceptance by position (95 % of a rate)", x: "k-th drafted token after the target's last own one", y: "accepted, given those before it were",
		fromZero: true, most: 1}
	names, by := s.split("rule", "drafter", "temperature")
	for _, n := range names {
		hits, judged := positions(by[n])
		l := series{name: n, line: true}
		for k := range places {
			if judged[k] >= 10 {
				lo, hi := wilson(hits[k], judged[k])
				l.points = append(l.points, point{x: float64(k + 1), y: Value{hits[k] / judged[k], lo, hi, int(judged[k])}, label: short(float64(k + 1))})
			}
		}
		p.series = append(p.series, l)
	}
	return p
}

func (s *Summary) byTask() *plot {
	p := &plot{title: "Acceptance by task (95 % over prompts)", x: "task", y: "accepted / judged", categories: s.Tasks, fromZero: true, most: 1}
	names, by := s.split("rule", "drafter")
	for _, n := range names {
		l := series{name: n}
		for i, task := range s.Tasks {
			var own []sweep.Record
			for _, r := range by[n] {
				if r.Task == task {
					own = append(own, r)
				}
			}
			if v := acceptance(own); v.known() {
				l.points = append(l.points, point{x: float64(i), y: v, label: task})
			}
		}
		p.series = append(p.series, l)
	}
	return p
}

func (s *Summary) byTemperature(title, y string, of func([]sweep.Record) Value, most float64) *plot {
	p := &plot{title: title + " by temperature (95 % over prompts)", x: "temperature", y: y, fromZero: true, most: most}
	p.categories = s.temperatures()
	names, by := s.split("rule", "drafter")
	for _, n := range names {
		l := series{name: n}
		for i, t := range p.categories {
			if v := of(at(by[n], "temperature", t)); v.known() {
				l.points = append(l.points, point{x: float64(i), y: v, label: t})
			}
		}
		p.series = append(p.series, l)
	}
	return p
}

func at(records []sweep.Record, setting, value string) (out []sweep.Record) {
	for _, r := range records {
		if r.Settings[setting] == value {
			out = append(out, r)
		}
	}
	return out
}

func (s *Summary) temperatures() []string {
	seen := map[string]bool{}
	for _, r := range s.all {
		if r.Way == sweep.Outrider {
			seen[r.Settings["temperature"]] = true
		}
	}
	out := sortedKeys(seen)
	slices.SortFunc(out, compareValues)
	return out
}

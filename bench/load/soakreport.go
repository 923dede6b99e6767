package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// SoakReport is what a soak has seen.
type SoakReport struct {
	Minutes    float64          `json:"minutes"`
	Asked      map[string]int   `json:"asked"` // conversations, by kind
	Wrong      map[string]int   `json:"wrong"` // of them failed or were not answered as undisturbed
	FirstError string           `json:"first_error,omitempty"`
	Tokens     int              `json:"tokens"`
	Harms      int              `json:"harms"` // cuts of the link and outages
	Trends     map[string]Trend `json:"trends"`
	Samples    []Sample         `json:"samples"`
}

// measures of a process, and by how much more than this share of their level, or this, they may rise in a run.
var measures = []struct {
	name         string
	of           func(Figure) float64
	share, least float64
}{
	{"memory, MB", func(f Figure) float64 { return f.MB }, 0.05, 4},
	{"goroutines", func(f Figure) float64 { return f.Goroutines }, 0.05, 5},
	{"descriptors", func(f Figure) float64 { return f.Descriptors }, 0.05, 5},
}

// Curve returns one measure of one process over time, in minutes.
func (r *SoakReport) Curve(process, measure string) (minutes, values []float64) {
	for _, m := range measures {
		if m.name != measure {
			continue
		}
		for _, s := range r.Samples {
			minutes, values = append(minutes, s.Seconds/60), append(values, m.of(s.Of[process]))
		}
	}
	return minutes, values
}

// Measures names what was sampled, Processes of whom.
func (r *SoakReport) Measures() (names []string) {
	for _, m := range measures {
		names = append(names, m.name)
	}
	return names
}

// Processes were sampled.
func (r *SoakReport) Processes() []string {
	if len(r.Samples) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(r.Samples[0].Of))
}

func (r *SoakReport) judge() {
	r.Trends = map[string]Trend{}
	for _, p := range r.Processes() {
		for _, m := range measures {
			x, y := r.Curve(p, m.name)
			if len(y) < 5 || slices.Max(y) == 0 {
				continue
			}
			for i := range x {
				x[i] /= 60
			}
			r.Trends[p+": "+m.name] = TrendOf(x, y, max(m.least, m.share*middle(y)))
		}
	}
}

// Check says what went wrong, nil when every answer was right and nothing grows.
func (r *SoakReport) Check() error {
	var wrong []string
	for _, k := range slices.Sorted(maps.Keys(r.Wrong)) {
		wrong = append(wrong, fmt.Sprintf("%d of %d conversations went wrong (%s)", r.Wrong[k], r.Asked[k], k))
	}
	if r.FirstError != "" {
		wrong = append(wrong, "the first: "+r.FirstError)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Trends)) {
		if t := r.Trends[k]; t.Grows {
			wrong = append(wrong, fmt.Sprintf("%s grows by %.3g an hour (from %.3g to %.3g)", k, t.Hour, t.Start, t.End))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(wrong, "; "))
}

func (r *SoakReport) counts() string {
	n, bad := 0, 0
	for k := range r.Asked {
		n, bad = n+r.Asked[k], bad+r.Wrong[k]
	}
	return fmt.Sprintf("%d conversations, %d wrong, %d tokens, %d cuts and outages", n, bad, r.Tokens, r.Harms)
}

// String is the report for people.
func (r *SoakReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.1f minutes: %s\n\n", r.Minutes, r.counts())
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kind\tconversations\twrong")
	for _, k := range slices.Sorted(maps.Keys(r.Asked)) {
		fmt.Fprintf(t, "%s\t%d\t%d\n", k, r.Asked[k], r.Wrong[k])
	}
	fmt.Fprintln(t, "\t\t\nprocess\tafter warm-up\tmedian\tat the end\tper hour\tz\tverdict")
	for _, k := range slices.Sorted(maps.Keys(r.Trends)) {
		x := r.Trends[k]
		verdict := "steady"
		if x.Grows {
			verdict = "GROWS"
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%.4g\t%+.3g\t%.1f\t%s\n", k, x.Start, x.Mid, x.End, x.Hour, x.Z, verdict)
	}
	_ = t.Flush() // b takes everything
	return b.String()
}

package telemetry

import (
	"fmt"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// scrape gathers counters: name and labels to value.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	return got
}

func TestSpecDecode(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewSpecDecode(reg, "cloud").Of("big")
	a := Acceptance{Drafts: 2, DraftTokens: 7, Accepted: 3}
	a.Pass(1)
	a.Pass(2)
	m.Add(&a)
	m.Add(&Acceptance{})
	want := map[string]float64{
		"outrider_spec_decode_num_accepted_tokens_per_pos_total position=0 side=cloud target=big": 2,
		"outrider_spec_decode_num_accepted_tokens_per_pos_total position=1 side=cloud target=big": 1,
		"outrider_spec_decode_num_accepted_tokens_total side=cloud target=big":                    3,
		"outrider_spec_decode_num_draft_tokens_total side=cloud target=big":                       7,
		"outrider_spec_decode_num_drafts_total side=cloud target=big":                             2,
	}
	if got := scrape(t, reg); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	var deep Acceptance
	deep.Pass(1000)
	m.Add(&deep)
	if n := len(scrape(t, reg)); n != 3+maxPositions {
		t.Errorf("%d series", n)
	}
}

func TestNamesAreBounded(t *testing.T) {
	var n Names
	seen := map[string]bool{}
	for i := range 3 * maxNames {
		seen[n.Bound(fmt.Sprint("model-", i))] = true
	}
	if len(seen) != maxNames+1 || !seen["other"] {
		t.Errorf("%d names", len(seen))
	}
	if got := n.Bound("model-3"); got != "model-3" {
		t.Error(got)
	}
}

func TestSecondsFitFromOneMillisecondToAMinute(t *testing.T) {
	h := Seconds("test", "x_seconds", "x")
	h.WithLabelValues().Observe(0.001)
	h.WithLabelValues().Observe(60)
	reg := prometheus.NewRegistry()
	reg.MustRegister(h)
	f, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	b := f[0].GetMetric()[0].GetHistogram()
	buckets := b.GetBucket()
	if buckets[0].GetCumulativeCount() != 1 || buckets[len(buckets)-2].GetCumulativeCount() != 1 || buckets[len(buckets)-1].GetCumulativeCount() != 2 {
		t.Error(buckets)
	}
	if b.GetSchema() == 0 && len(b.GetPositiveSpan()) == 0 {
		t.Error("not native")
	}
}

package simulate

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// objectives are all but the default.
func objectives() (out []speculative.Objective) {
	for i := range speculative.Objectives() {
		out = append(out, speculative.Objective(i+1))
	}
	return out
}

// full says whether the long form of a test is wanted, as in make verify.
func full() bool { return os.Getenv("OUTRIDER_VERIFY") != "" }

// Under no objective does speculation cost more than 2 % of the time that streaming takes, however seldom the
// draft is right, however slow it is, however long the link, and when that changes in mid-session.
func TestNeverSlower(t *testing.T) {
	rtts, agreements, seeds := []time.Duration{2, 50, 200, 500}, []float64{0, 0.3, 1}, 1
	if full() {
		rtts, agreements, seeds = []time.Duration{0, 1, 5, 20, 50, 80, 120, 200, 350, 500}, []float64{0, 0.02, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1}, 4
	}
	type worst struct {
		ratio float64
		where string
	}
	of := map[speculative.Objective]worst{}
	for seed := range seeds {
		for _, rtt := range rtts {
			for _, agreement := range agreements {
				for k := range 6 {
					draft, told := []time.Duration{4, 40}[k%2], []Confidence{Calibrated, Noisy, Constant}[k/2]
					c := standard(rtt * time.Millisecond)
					c.Seed += uint64(seed) * 1000
					c.Sessions, c.Model.Draft, c.Model.Agreement, c.Model.Confidence = 4, draft*time.Millisecond, agreement, told
					for i, f := range alike(t, c, objectives()) {
						o := objectives()[i]
						where := fmt.Sprintf("%s, RTT %d ms, agreement %g, confidence %s, draft %d ms a token, seed %d", o, rtt, agreement, told, draft, c.Seed)
						if f.ratio > of[o].ratio {
							of[o] = worst{f.ratio, where}
						}
						if f.ratio > 1.02 {
							t.Errorf("%s: %s of cloud-only", where, strconv.FormatFloat(f.ratio, 'f', 4, 64))
						}
					}
				}
			}
		}
	}
	for _, o := range objectives() {
		t.Logf("%-8s %.4f of cloud-only at worst: %s", o, of[o].ratio, of[o].where)
	}
}

// alike measures the same sessions under several objectives.
func alike(t *testing.T, c Config, objectives []speculative.Objective) (out []figures) {
	t.Helper()
	alone := c
	alone.Strategy = CloudOnly
	base := sum(t, alone)
	for _, o := range objectives {
		c.Objective = o
		f := sum(t, c)
		f.ratio = f.took.Seconds() / base.took.Seconds()
		out = append(out, f)
	}
	return out
}

package simulate

import (
	"fmt"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// beside is what a batched draft on the target's own machine costs in docs/benchmarks.md.
var beside = speculative.Cost{Step: 4 * time.Millisecond, Position: 30 * time.Microsecond}

// With a draft in the cloud no session takes more than 1.02 of what co-located speculation takes that knows the
// best depth for these very sessions, nor of what streaming takes: with and without a draft on the edge,
// however seldom the drafts are right, whatever they tell, and however long the link.
func TestNeverSlowerThanColocated(t *testing.T) {
	rtts, agreements, seconds, told, sessions := []time.Duration{500}, []float64{0, 0.9, 1}, []float64{0}, []Confidence{Calibrated, Constant}, 6
	if full() {
		rtts, agreements, seconds = []time.Duration{0, 50, 200, 500}, []float64{0, 0.05, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 1}, []float64{0, 0.5}
		told, sessions = []Confidence{Calibrated, Noisy, Constant}, 60 // with fewer the best depth knows their luck
	}
	worst := map[Strategy]float64{}
	for _, rtt := range rtts {
		for _, agreement := range agreements {
			for k := range len(seconds) * len(told) {
				c := standard(rtt * time.Millisecond)
				c.Sessions, c.CloudDraft = sessions, beside
				c.Model.Agreement, c.Model.Second, c.Model.Confidence = agreement, seconds[k/len(told)], told[k%len(told)]
				where := fmt.Sprintf("RTT %d ms, agreement %g, second choice %g, confidence %s", rtt, agreement, c.Model.Second, c.Model.Confidence)
				bounds := map[Strategy]float64{}
				for _, s := range []Strategy{CloudOnly, Colocated} {
					c.Strategy = s
					bounds[s] = sum(t, c).took.Seconds()
				}
				for _, s := range []Strategy{CloudDrafting, Cooperative} {
					c.Strategy = s
					took := sum(t, c).took.Seconds()
					worst[s] = max(worst[s], took/bounds[Colocated])
					for of, b := range bounds {
						if took > 1.02*b {
							t.Errorf("%s: %s takes %.4f of %s", where, s, took/b, of)
						}
					}
				}
			}
		}
	}
	t.Logf("at worst %.4f of co-located speculation without drafts of the edge, %.4f with them", worst[CloudDrafting], worst[Cooperative])
}

// A draft in the cloud is given up first under load: it gains where the target has time, and where it has none the
// throughput is what it is without, but for a step that falls behind the end.
func TestCloudDraftUnderLoad(t *testing.T) {
	for _, sessions := range []int{4, 64} {
		c := standard(50 * time.Millisecond)
		c.Sessions, c.Tokens, c.Spread, c.Horizon = sessions, 100000, 100*time.Millisecond, 2*time.Second
		without, step := tokensOf(t, c)
		c.CloudDraft = beside
		with, _ := tokensOf(t, c)
		t.Logf("%d sessions: %d tokens, with a draft in the cloud %d", sessions, without, with)
		if with < without-step || sessions == 4 && with < without*105/100 {
			t.Errorf("%d sessions: %d tokens become %d by a draft in the cloud", sessions, without, with)
		}
	}
}

// tokensOf is what all sessions got, and what a step committed.
func tokensOf(t *testing.T, c Config) (n, step int) {
	t.Helper()
	o, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range o.Sessions {
		n += s.Tokens
	}
	return n, n / o.Steps
}

package simulate

import (
	"context"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// shapes are what a target's step may cost.
var shapes = []struct {
	name string
	cost speculative.Cost
}{
	{"0.3 ms a row", speculative.Cost{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond}},
	{"0.5 ms a session, 0.1 ms a row", speculative.Cost{Step: 40 * time.Millisecond, Sequence: 500 * time.Microsecond, Position: 100 * time.Microsecond}},
	{"0.5 ms a session, 0.02 ms a row", speculative.Cost{Step: 40 * time.Millisecond, Sequence: 500 * time.Microsecond, Position: 20 * time.Microsecond}},
}

// 50 sessions that share a target have together, and each of them, no fewer tokens a second than without
// drafts, whatever a step costs. (A session whose
// draft happens to fare badly pays for longer steps: 6 % at most.)
func TestFiftySessions(t *testing.T) {
	for _, shape := range shapes {
		for _, rtt := range []time.Duration{10, 200} {
			for _, agreement := range []float64{0.6, 0.9} {
				c := standard(rtt * time.Millisecond)
				c.Sessions, c.Tokens, c.Horizon, c.Spread = 50, 0, 10*time.Second, 500*time.Millisecond
				c.Model.Agreement, c.Model.Target = agreement, shape.cost
				tokens := func(s Strategy) (all int, each []int) {
					c.Strategy = s
					o, err := Run(context.Background(), c)
					if err != nil {
						t.Fatal(err)
					}
					for _, x := range o.Sessions {
						all, each = all+x.Tokens, append(each, x.Tokens)
					}
					return all, each
				}
				with, each := tokens(Cooperative)
				without, eachAlone := tokens(CloudOnly)
				least := 9.0
				for i := range each {
					least = min(least, float64(each[i])/float64(eachAlone[i]))
				}
				t.Logf("%-32s RTT %3d ms, agreement %.2f: %.2f of cloud-only in all, %.2f the session that gains least", shape.name, rtt, agreement,
					float64(with)/float64(without), least)
				if with < without || least < 0.94 {
					t.Errorf("%s, RTT %d ms, agreement %.2f: %d tokens, cloud-only %d; a session has %.3f of its own", shape.name, rtt, agreement, with, without, least)
				}
			}
		}
	}
}

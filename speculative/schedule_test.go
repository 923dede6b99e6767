package speculative

import (
	"testing"
	"time"
)

func TestPlanKeepsPlacesForPrompts(t *testing.T) {
	var bids []Bid
	for range 20 {
		bids = append(bids, Bid{Offer: Offer{Ready: true}})
	}
	bids = append(bids, Bid{Offer: Offer{Ready: true, Prefill: 1000}})
	grants := Plan(bids, Limits{Positions: 64, Sequences: 8, Prefill: 16}, Cost{Step: time.Millisecond, Position: time.Microsecond})
	rows, roots := 0, 0
	for _, g := range grants {
		if g.Bid == 20 {
			rows = g.N
		} else {
			roots++
		}
	}
	if rows != 16 || roots != 7 {
		t.Fatalf("%d prompt rows and %d roots, want 16 and 7", rows, roots)
	}
}

func TestPlanServesTheLongestWaitingOfThoseBehind(t *testing.T) {
	dense := []float64{0.99, 0.98, 0.97}
	bids := []Bid{
		{Offer: Offer{Ready: true, Values: dense}, Behind: true, Since: 30},
		{Offer: Offer{Ready: true}, Behind: true, Since: 10},
		{Offer: Offer{Ready: true, Values: dense}, Since: 5},
	}
	grants := Plan(bids, Limits{Positions: 1}, Cost{Step: time.Millisecond, Position: time.Microsecond})
	if len(grants) != 1 || grants[0].Bid != 1 {
		t.Fatalf("grants %v, want the second bid first: it waits longest", grants)
	}
}

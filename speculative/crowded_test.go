package speculative

import (
	"math/rand/v2"
	"testing"
	"time"
)

// gain is the expected tokens and the time of a plan.
func gain(bids []Bid, grants []Grant, c Cost) (tokens float64, took float64) {
	took = float64(c.Step)
	for _, g := range grants {
		tokens++
		for _, v := range bids[g.Bid].Values[:g.N] {
			tokens += v
		}
		took += float64(c.Sequence) + float64(1+g.N)*float64(c.Position)
	}
	return tokens, took
}

// bestYield tries every plan: how many rows each session gets, none included.
func bestYield(bids []Bid, at, left int, c Cost, tokens, took float64) float64 {
	if at == len(bids) {
		if tokens == 0 {
			return 0
		}
		return tokens / took
	}
	best := bestYield(bids, at+1, left, c, tokens, took)
	took += float64(c.Sequence)
	sum := 1.0
	for n := 0; n <= len(bids[at].Values) && n < left; n++ {
		if n > 0 {
			sum += bids[at].Values[n-1]
		}
		best = max(best, bestYield(bids, at+1, left-1-n, c, tokens+sum, took+float64(n+1)*float64(c.Position)))
	}
	return best
}

// Plans against the best ones that there are, on cases small enough to try them all.
func TestPlanAgainstTheBest(t *testing.T) {
	shapes := []Cost{
		{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond},
		{Step: 40 * time.Millisecond, Sequence: 5 * time.Millisecond, Position: time.Millisecond},
		{Step: 40 * time.Millisecond, Sequence: 5 * time.Millisecond, Position: 200 * time.Microsecond},
		{Step: 4 * time.Millisecond, Position: 4 * time.Millisecond},
	}
	for i, c := range shapes {
		sum, least, n := 0.0, 1.0, 0
		for seed := range uint64(60) {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			bids := make([]Bid, 2+rng.IntN(4))
			for j := range bids {
				bids[j] = Bid{Offer: Offer{Ready: true}, Since: Time(j)}
				for v := rng.Float64(); v > 0.05 && len(bids[j].Values) < 4; v *= rng.Float64() {
					bids[j].Values = append(bids[j].Values, v)
				}
			}
			rows := 2 + rng.IntN(10)
			tokens, took := gain(bids, Plan(bids, Limits{Positions: rows}, c), c)
			ratio := tokens / took / bestYield(bids, 0, rows, c, 0, float64(c.Step))
			sum, least, n = sum+ratio, min(least, ratio), n+1
		}
		t.Logf("%+v: %.3f of the best yield on average, %.3f at least", c, sum/float64(n), least)
		if sum/float64(n) < 0.97 || least < 0.8 {
			t.Errorf("%+v: %.3f of the best yield on average, %.3f at least", c, sum/float64(n), least)
		}
	}
}

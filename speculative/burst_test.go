package speculative

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// burst has 800 sessions begin within a second at a target of 20 ms + 10 us a row whose machine is
// busiest just then: steps take up to `busy` times as long, more with each that begins, whatever their
// rows. It returns the median time to the first token.
func burst(e *CostModel, seed uint64, busy float64) time.Duration {
	const sessions, prompt = 800, 24
	rng := rand.New(rand.NewPCG(seed, 9))
	left, since, first := make([]int, sessions), make([]Time, sessions), make([]Time, sessions)
	for i := range left {
		left[i], since[i] = prompt, time.Duration(i)*time.Second/sessions
	}
	limits := Limits{Positions: 512, Sequences: 256}
	for now := Time(0); slices.Contains(first, 0); {
		cost := e.Cost()
		limits.Prefill = int(min(time.Duration(limits.Positions), max(16, max(100*time.Millisecond, cost.Step)/cost.Position)))
		var bids []Bid
		var who []int
		for i := range left {
			if time.Duration(i)*time.Second/sessions > now {
				break
			}
			o := Offer{Ready: true, Prefill: left[i]}
			if left[i] == 0 {
				o.Values = []float64{0.8, 0.64}
			}
			bids, who = append(bids, Bid{Offer: o, Since: since[i], Behind: now-since[i] > 125*time.Millisecond}), append(who, i)
		}
		rows, grants := 0, Plan(bids, limits, cost)
		for _, g := range grants {
			if rows += g.N; left[who[g.Bid]] == 0 {
				rows++
			}
		}
		load := 1 + (busy-1)*min(1, now.Seconds())
		took := time.Duration(float64(20*time.Millisecond+time.Duration(rows)*10*time.Microsecond) * load * (1 + 0.3*rng.Float64()))
		now += took
		e.Observe(len(grants), rows, took)
		for _, g := range grants {
			i := who[g.Bid]
			since[i] = now
			if left[i] == 0 && first[i] == 0 {
				first[i] = now - time.Duration(i)*time.Second/sessions
			}
			left[i] = max(0, left[i]-g.N)
		}
	}
	slices.Sort(first)
	return first[sessions/2]
}

// When many sessions begin at once their prompts must not wait because what the machine does besides
// is taken for the cost of rows.
func TestBurstOfPrompts(t *testing.T) {
	for busy, most := range map[float64]time.Duration{1: 450 * time.Millisecond, 2: time.Second, 4: 2400 * time.Millisecond} {
		for seed := range uint64(3) {
			if got := burst(&CostModel{}, seed, busy); got > most {
				t.Errorf("busy %g, seed %d: median first token after %v, at most %v is allowed", busy, seed, got, most)
			}
		}
	}
}

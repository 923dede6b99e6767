package simulate

import (
	"context"
	"math"
	"time"
)

// maxCapacity bounds the search for a target's capacity.
const maxCapacity = 8192

// Capacity is how many sessions one target serves at once so that each gets at least rate tokens a
// second on average and 19 of 20 get 0.95 of it; prompts are left out. The strategy is Cooperative, CloudOnly, Pipelined or
// Colocated.
func Capacity(ctx context.Context, c Config, rate float64) (int, error) {
	serves := func(n int) (bool, error) { return c.serves(ctx, n, rate) }
	if c.Strategy == Colocated {
		serves = func(n int) (bool, error) { return colocatedRate(c.settle(), n) >= rate, nil }
	}
	low, high := 0, 1
	for high <= maxCapacity {
		ok, err := serves(high)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, high = high, 2*high
	}
	for low+1 < high {
		mid := (low + high) / 2
		ok, err := serves(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

// capacityTime is the virtual time that a trial of Capacity lasts.
const capacityTime = 6 * time.Second

func (c Config) serves(ctx context.Context, n int, rate float64) (bool, error) {
	c.Sessions, c.Tokens, c.Arrivals, c.Prompt = n, 0, nil, 1
	c.Pace = 1.05 * rate
	c.Horizon, c.Spread = capacityTime, 200*time.Millisecond
	o, err := Run(ctx, c)
	if err != nil {
		return false, err
	}
	span := (capacityTime - c.Spread - c.Link.RTT).Seconds()
	total, slow := 0, 0
	for _, s := range o.Sessions {
		total += s.Tokens
		if float64(s.Tokens) < 0.95*rate*span {
			slow++
		}
	}
	return float64(total) >= rate*span*float64(n) && slow <= n/20, nil
}

// colocatedRate is the tokens per second that each of n sessions gets from a server that drafts k
// tokens for a batch (a draft step costs c.Model.Draft and 0.03 ms a token of the batch), then scores
// them; with the best k, and with no more sessions in a step than its positions allow.
func colocatedRate(c Config, n int) float64 {
	const draftToken = 30 * time.Microsecond
	a, best := c.Model.Agreement, 0.0
	for k := range 17 {
		m := min(n, c.Limits.Positions/(k+1))
		if s := c.Limits.Sequences; s > 0 {
			m = min(m, s)
		}
		if m == 0 {
			break
		}
		tokens := float64(k + 1)
		switch tr := c.Model.Trace; {
		case tr != nil:
			tokens = tr.Length(k)
		case a < 1:
			tokens = (1 - math.Pow(a, float64(k+1))) / (1 - a)
		}
		t := c.Model.Target
		took := time.Duration(k)*(c.Model.Draft+time.Duration(m)*draftToken) + t.Step + time.Duration(m)*t.Sequence + time.Duration(m*(k+1))*t.Position
		best = max(best, float64(m)*tokens/took.Seconds()/float64(n))
	}
	return best
}

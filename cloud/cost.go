package cloud

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// costModel estimates what a target step costs, step + position x rows, by least squares over the
// recent steps (older ones fade by costDecay).
type costModel struct {
	n, x, y, xx, xy float64 // weighted moments: x rows, y seconds
}

const (
	costDecay = 0.98
	// Until steps of different sizes have been seen a row is taken for this share of a step.
	costPriorShare = 0.01
)

func (c *costModel) observe(rows int, took time.Duration) {
	x, y := float64(rows), took.Seconds()
	c.n, c.x, c.y = c.n*costDecay+1, c.x*costDecay+x, c.y*costDecay+y
	c.xx, c.xy = c.xx*costDecay+x*x, c.xy*costDecay+x*y
}

// cost returns the estimate; rows always cost something, steps never less than nothing.
func (c *costModel) cost() speculative.Cost {
	if c.n == 0 {
		return speculative.Cost{Step: 40 * time.Millisecond, Position: 400 * time.Microsecond}
	}
	mx, my := c.x/c.n, c.y/c.n
	slope := my * costPriorShare / max(1, mx)
	if v := c.xx/c.n - mx*mx; v > 0.05 {
		slope = max((c.xy/c.n-mx*my)/v, slope/10)
	}
	slope = min(slope, my/max(1, mx))
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return speculative.Cost{Step: max(0, seconds(my-slope*mx)), Position: max(1, seconds(slope))}
}

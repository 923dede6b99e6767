package speculative

import "math"

// calibrator turns a draft's raw confidence into the observed rate of agreement, online. A child's
// outcome is known as soon as its parent is committed, whether the proposal was late or not. Within a
// bin of raw confidence it shifts the odds by what was seen against what was told, so a draft that
// tells the truth is believed to the digit and one that boasts is not.
type calibrator struct {
	told, hits, trials [calBins]float64 // told: the sum of the raw confidences
	missed             float64          // misses of the first choice
	covered            float64          // of those, the second choice was right
}

const (
	calBins  = 20
	calPrior = 12.0   // weight of the prior, in trials
	calDecay = 0.995  // per trial and bin: forgets over about 200 trials
	calFloor = 0.0005 // below this nothing distinguishes values
)

func calBin(raw float64) int { return max(0, min(calBins-1, int(raw*calBins))) }

func calRaw(raw float32) float64 {
	if r := float64(raw); r > calFloor {
		return min(r, 1-calFloor)
	}
	return calFloor
}

// first returns the probability that the first choice agrees.
func (c *calibrator) first(raw float32) float64 {
	r := calRaw(raw)
	b := calBin(r)
	// Both sides get half the prior, at the odds that were told.
	hit := (c.hits[b] + calPrior*r) / (c.told[b] + calPrior*r)
	miss := (c.trials[b] - c.hits[b] + calPrior*(1-r)) / (c.trials[b] - c.told[b] + calPrior*(1-r))
	return math.Max(r*hit/(r*hit+(1-r)*miss), calFloor)
}

// second returns the probability that the runner-up agrees.
func (c *calibrator) second(raw float32) float64 {
	return math.Max((1-c.first(raw))*c.coverage(), calFloor)
}

// coverage is the share of misses in which the runner-up agrees.
func (c *calibrator) coverage() float64 { return (c.covered + 0.4*calPrior) / (c.missed + calPrior) }

func (c *calibrator) observe(raw float32, hit, secondHit bool) {
	r := calRaw(raw)
	b := calBin(r)
	c.hits[b] *= calDecay
	c.told[b] = c.told[b]*calDecay + r
	c.trials[b] = c.trials[b]*calDecay + 1
	if hit {
		c.hits[b]++
		return
	}
	c.missed = c.missed*calDecay + 1
	c.covered *= calDecay
	if secondHit {
		c.covered++
	}
}

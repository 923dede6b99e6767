package speculative

import "math"

// calibrator turns a draft's raw confidence into the observed rate of agreement, online. A child's
// outcome is known as soon as its parent is committed, whether the proposal was late or not.
type calibrator struct {
	hits, trials [calBins]float64
	missed       float64 // misses of the first choice
	covered      float64 // of those, the second choice was right
}

const (
	calBins  = 10
	calPrior = 4.0    // weight of the prior, in trials
	calDecay = 0.995  // per trial and bin: forgets over about 200 trials
	calFloor = 0.0005 // below this nothing distinguishes values
)

func calBin(raw float32) int {
	i := int((float64(raw) - 0.5) * 2 * calBins)
	return max(0, min(calBins-1, i))
}

// first returns the probability that the first choice agrees.
func (c *calibrator) first(raw float32) float64 {
	b := calBin(raw)
	prior := 0.1 + 0.85*(float64(b)+0.5)/calBins
	p := (c.hits[b] + calPrior*prior) / (c.trials[b] + calPrior)
	return math.Max(p, calFloor)
}

// second returns the probability that the runner-up agrees.
func (c *calibrator) second(raw float32) float64 {
	h := (c.covered + 0.4*calPrior) / (c.missed + calPrior)
	return math.Max((1-c.first(raw))*h, calFloor)
}

func (c *calibrator) observe(raw float32, hit, secondHit bool) {
	b := calBin(raw)
	c.hits[b] *= calDecay
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

// payoff decides whether drafting pays at all, by the share of sent nodes that agreed with the log
// and of those that were accepted (late ones save nothing). When either is next to nothing drafting
// stops (depth 0) and is probed again later, at growing distances. The bounds are low: an accepted
// node saves a target step, a refused one costs a row of it, about a hundredth.
type payoff struct {
	agreed, accepted, decided float64
	resumeAt                  int // log length at which to draft again; 0: drafting
	pause                     int
}

const (
	payAgreed         = 0.02 // less agreement than this is useless at any distance ...
	payAgreedTrials   = 48.0
	payAccepted       = 0.005 // ... and so is less acceptance, which takes longer to know
	payAcceptedTrials = 256.0
	payDecay          = 0.997
	payPause          = 64
	payPauseMax       = 512
)

func (p *payoff) observe(agreed, accepted, decided, length int) {
	if decided == 0 {
		return
	}
	d := math.Pow(payDecay, float64(decided))
	p.agreed = p.agreed*d + float64(agreed)
	p.accepted = p.accepted*d + float64(accepted)
	p.decided = p.decided*d + float64(decided)
	switch {
	case p.decided < payAgreedTrials:
	case p.agreed < payAgreed*p.decided,
		p.decided >= payAcceptedTrials && p.accepted < payAccepted*p.decided:
		p.pause = min(max(payPause, 2*p.pause), payPauseMax)
		p.resumeAt = length + p.pause
		p.agreed, p.accepted, p.decided = 0, 0, payAgreedTrials/2 // a probe needs half the trials
	case p.agreed >= 2*payAgreed*p.decided:
		p.pause = 0
	}
}

// drafting reports whether to draft at this log length.
func (p *payoff) drafting(length int) bool {
	if p.resumeAt > 0 && length >= p.resumeAt {
		p.resumeAt = 0
	}
	return p.resumeAt == 0
}

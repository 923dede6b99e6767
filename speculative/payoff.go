package speculative

import "math"

// payoff decides whether drafting pays at all, by the share of sent nodes that agreed with the log and by
// what was accepted (late ones save nothing): of the sent nodes, and of the drafted tokens where
// those must be worth something. When any is too little drafting stops (depth 0) and is probed again
// later, at growing distances. The bounds are low: an accepted node saves a target step, a refused one
// costs a row of it, about a hundredth.
type payoff struct {
	worth                              float64 // as in ProposerConfig
	agreed, accepted, decided, drafted float64 // decayed
	rounds                             float64 // in which these were decided: nodes behind one miss are no misses of their own
	resumeAt                           int     // log length at which to draft again; 0: drafting
	pause                              int
}

const (
	payAgreed         = 0.02 // less agreement than this is useless at any distance ...
	payAgreedTrials   = 48.0
	payRounds         = 8.0
	payAccepted       = 0.005 // ... and so is less acceptance, which takes longer to know
	payAcceptedTrials = 256.0
	payWorth          = 0.5 // of worth, what drafted tokens save at least: a run of bad luck is no verdict
	payWorthTrials    = 64.0
	payUseful         = 8.0 // weight of the prior that all that agrees is accepted, in tokens
	payDecay          = 0.997
	payPause          = 64
	payPauseMax       = 512
)

// drew notes a drafted token.
func (p *payoff) drew() { p.drafted++ }

// useful is the share of what agrees with the log that arrives in time to be accepted.
func (p *payoff) useful() float64 { return (p.accepted + payUseful) / (p.agreed + payUseful) }

func (p *payoff) observe(agreed, accepted, decided, length int) {
	if decided == 0 {
		return
	}
	d := math.Pow(payDecay, float64(decided))
	p.agreed = p.agreed*d + float64(agreed)
	p.accepted = p.accepted*d + float64(accepted)
	p.decided = p.decided*d + float64(decided)
	p.drafted *= d
	p.rounds = p.rounds*d + 1
	switch {
	case p.decided < payAgreedTrials, p.rounds < payRounds:
	case p.agreed < payAgreed*p.decided,
		p.decided >= payAcceptedTrials && p.accepted < payAccepted*p.decided,
		p.drafted >= payWorthTrials && p.accepted < payWorth*p.worth*p.drafted:
		p.pause = min(max(payPause, 2*p.pause), payPauseMax)
		p.resumeAt = length + p.pause
		p.agreed, p.accepted, p.drafted = 0, 0, payWorthTrials/2
		p.decided, p.rounds = payAgreedTrials/2, payRounds/2 // a probe needs half the trials
	case p.agreed >= 2*payAgreed*p.decided && p.accepted >= p.worth*p.drafted:
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

package speculative

// Guess expands what a source that takes no time knows, the most probable node first, until that node
// is one it knows nothing of or is being drafted. Whether drafting pays is not asked: a guess costs the
// edge nothing, and the cloud only what its confidence says. The source's confidence is
// taken as told: unlike the draft's it is not calibrated, and does not bear on the draft's. Call it
// before Ready.
func (p *Proposer) Guess(source func(path []Token) (Choice, bool)) {
	for {
		n := p.next()
		if n == nil || n == p.drafting {
			return
		}
		c, ok := source(n.path(p.root))
		if !ok {
			return
		}
		c.Second = -1
		n.guessed = true
		p.stats.Guessed++
		p.expand(n, c, calRaw(c.Confidence))
	}
}

// DraftWorth returns the share of the draft's first choices that the log agrees with, guesses apart,
// and how long the draft takes for a token, 0: not known.
func (p *Proposer) DraftWorth() (rate float64, took Time) { return p.agree.rate(), p.perToken }

// agreement is a share of hits that forgets over about 50 trials.
type agreement struct{ hits, trials float64 }

const (
	agreeDecay = 0.98
	agreePrior = 0.7
	agreeWeigh = 8 // trials
)

func (a *agreement) observe(hit bool) {
	a.hits *= agreeDecay
	a.trials = a.trials*agreeDecay + 1
	if hit {
		a.hits++
	}
}

func (a *agreement) rate() float64 {
	return (a.hits + agreePrior*agreeWeigh) / (a.trials + agreeWeigh)
}

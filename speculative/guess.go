package speculative

import "math"

// Guess expands what a source that takes no time knows, the most probable node first, until that node
// is one it knows nothing of or is being drafted. Whether drafting pays is not asked: a guess costs the
// edge nothing, and the cloud only what its confidence says. The source's confidence is
// taken as told: unlike the draft's it is not calibrated, and does not bear on the draft's. Call it
// before Ready.
func (p *Proposer) Guess(source func(path []Token) (Choice, bool)) {
	for {
		n := p.next(false)
		if n == nil || n == p.drafting || n.logp < p.root.logp+math.Log(guessPath) {
			return
		}
		c, ok := source(n.path(p.root))
		if !ok {
			return
		}
		c.Second = -1
		n.guessed = true
		p.stats.Guessed++
		n.sure = calRaw(c.Confidence)
		p.expand(n, c, n.sure)
	}
}

// guessPath is the path probability down to which guesses go on. It is higher than for drafts, which cost
// their time one by one: guesses would take the whole window, and the draft could not say otherwise.
const guessPath = 0.05

// doubt is the log probability that the guess after n is wrong and the draft right.
func (n *node) doubt() float64 { return math.Log((1 - n.sure) * agreePrior) }

// opine takes the draft's choice where there is a guess: one that differs becomes a branch.
func (p *Proposer) opine(n *node, c Choice) {
	n.opinion, n.raw, n.second = true, c.Confidence, c.Second
	guess := n.firstTok
	n.firstTok = c.Token
	p1 := (1 - n.sure) * p.cal.first(c.Confidence)
	if c.Q != nil {
		return // which branch is sent would depend on what was drawn: no lossless rule bears that
	}
	if c.Token != guess && p.room() && n.logp+math.Log(p1) >= p.root.logp+math.Log(p.minPath()) {
		p.add(n, c.Token, p1, nil)
	}
}

// DraftWorth returns the share of the draft's choices that the log agrees with, and how long the draft
// takes for a token, 0: not known.
func (p *Proposer) DraftWorth() (rate float64, took Time) {
	rate = p.agree.rate()
	if p.c.Branches {
		rate += (1 - rate) * p.cal.coverage()
	}
	return rate, p.perToken
}

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

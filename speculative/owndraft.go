package speculative

import (
	"cmp"
	"slices"
	"time"
)

// A draft model beside the target (protocol.md, rule 4). It takes the target's own time, so its tokens are
// made one by one, only for a step that is about to be made, and only while that raises what the step
// commits per unit of time: Offer says which token is wanted next (Wish), PlanDrafts chooses the sessions
// whose wishes pay, the owner drafts them in one batch, and offers are made anew.

// DefaultDrafts is how many tokens of the cloud's draft a session has in a step at most.
const DefaultDrafts = 64

// Wish is a token that the cloud's draft could add to a session's share of the next step: what follows
// the log and Path.
type Wish struct {
	Path   []Token
	Value  float64 // the probability that the path holds and the draft is right
	Credit float64 // what the session can pay for it, in rows of the target
	Rows   int     // that the draft has to run for it, as the owner knows; 0: 1
}

// suggestDrafted is suggest for a draft model: what it has said is put behind and beside the nodes that
// wait, and where it has not spoken yet the offer says so. What was drafted costs no more than its row.
func (v *Verifier) suggestDrafted(nodes []*vnode, most int, ratio float64) (out []*vnode, wish *Wish) {
	w := v.newWalk(nodes, ratio)
	many := min(most, cmp.Or(v.c.Own.Most, DefaultDrafts))
	for end := v.c.Ending.MaxLength; len(w.out) < many && (end == 0 || len(v.log)+len(w.path) < end); {
		child := w.child()
		c, said := v.c.Own.Guess(v.log, w.path)
		switch {
		case !said && child != nil && (v.c.Chains || w.trust*child.p >= v.guessed.rate()/2):
			w.follow(child, w.trust*child.p)
			continue
		case !said:
			return w.sorted(), &Wish{Path: slices.Clone(w.path), Value: w.value * v.guessed.rate(), Credit: v.earned + 0.02*ratio - float64(len(nodes)+len(w.out)+1)}
		case c.Token < 0:
			return w.sorted(), nil
		}
		p := v.guessed.first(c.Confidence)
		if same := w.childOf(c.Token); same != nil {
			w.follow(same, max(p, w.trust*same.p))
			continue
		}
		if child != nil && (v.c.Chains || w.trust*child.p >= p) {
			w.follow(child, w.trust*child.p)
			continue
		}
		if !w.add(v, c, p, many) {
			break
		}
	}
	return w.sorted(), nil
}

// walk goes down the likeliest path of what waits and of what the draft has said.
type walk struct {
	nodes, out    []*vnode
	trust         float64 // in the edge's confidence
	tip           *vnode  // where the path ends; nil: at the log
	path          []Token
	value         float64 // probability of the path
	tokens, share float64 // expected of the step, and its cost in rows
}

func (v *Verifier) newWalk(nodes []*vnode, ratio float64) *walk {
	w := &walk{nodes: nodes, trust: v.trust.of(), value: 1, tokens: 1, share: max(1, ratio) + float64(len(nodes))}
	for _, n := range nodes {
		w.tokens += w.trust * n.value
	}
	return w
}

// child is the likeliest of the nodes that follow the tip; nil: there is none.
func (w *walk) child() *vnode {
	for _, n := range w.nodes { // the likeliest path comes first
		if n.up == w.tip {
			return n
		}
	}
	return nil
}

func (w *walk) childOf(t Token) *vnode {
	for _, n := range w.nodes {
		if n.up == w.tip && n.token == t {
			return n
		}
	}
	return nil
}

func (w *walk) follow(n *vnode, p float64) {
	w.tip, w.path, w.value = n, append(w.path, n.token), w.value*p
}

// add puts the draft's choice at the end of the path, and its second choice beside it, where they are worth
// their rows. It is false where the first is not.
func (w *walk) add(v *Verifier, c Choice, p float64, most int) bool {
	worth := func(value float64) bool { return value*w.share > w.tokens }
	if !worth(w.value * p) {
		return false
	}
	at, up := len(v.log)+len(w.path), w.tip
	put := func(t Token, p float64) *vnode {
		n := &vnode{token: t, pos: at, p: p, up: up, value: w.value * p, own: true}
		w.out, w.tokens, w.share = append(w.out, n), w.tokens+n.value, w.share+1
		return n
	}
	n := put(c.Token, p)
	if q := (1 - p) * v.guessed.coverage(); !v.c.Chains && c.Second >= 0 && len(w.out) < most && worth(w.value*q) && w.childOf(c.Second) == nil {
		put(c.Second, q)
	}
	w.follow(n, p)
	return true
}

// sorted returns the proposals so that a prefix of them is a tree: the likeliest first, parents before children. Second
// choices that are not worth their rows beside all the others are left out.
func (w *walk) sorted() []*vnode {
	slices.SortStableFunc(w.out, func(a, b *vnode) int { return cmp.Compare(b.value, a.value) })
	for n := len(w.out); n > 0 && w.out[n-1].value*w.share <= w.tokens; n-- {
		w.tokens, w.share, w.out = w.tokens-w.out[n-1].value, w.share-1, w.out[:n-1]
	}
	return w.out
}

// Spend charges a session with what was drafted for it, in rows of the target.
func (v *Verifier) Spend(rows float64) { v.earned -= rows }

// Drafted takes what the draft said for a wish.
func (v *Verifier) Drafted(c Choice) {
	v.guessed.drew(c.Confidence)
	v.c.Own.Before.drew(c.Confidence)
}

// advance lends a session up to the price of some steps, so that the draft can be tried before many steps have
// passed: what other sessions have earned with it.
func (v *Verifier) advance(ratio float64) {
	if v.guessed != nil && !v.advanced {
		v.advanced = true
		v.earned += v.c.Own.Before.lend(lentSteps * ratio)
	}
}

// learn compares what the draft said after the log with what the target says there.
func (v *Verifier) learn(t Token) {
	if v.guessed == nil {
		return
	}
	if c, ok := v.c.Own.Guess(v.log, nil); ok {
		v.guessed.observe(c.Confidence, c.Token == t, c.Second == t)
		v.c.Own.Before.observe(c.Confidence, c.Token == t, c.Second == t)
	}
}

// calibration is what the cloud's draft is worth in one session: what it tells, shifted by the odds that were seen
// of all its tokens, which are known soon, and then of those that told as much, for which it takes longer.
type calibration struct {
	all, missed odds // missed: second choices, where the first was wrong
	like        [calBins]odds
	hopes       float64 // that the tokens drafted of late promised, forgetting over about 20
	drawn       float64 // and how many they were
}

// odds are what was seen against what was told. They forget over about 500 trials.
type odds struct{ told, hits, trials float64 }

const (
	oddsDecay     = 0.998 // per trial
	oddsPrior     = 2.0   // trials, of all
	oddsPriorLike = 25.0  // of those that told as much
	firstRate     = 0.75  // believed of a draft that nothing is known of
	secondRate    = 0.4   // and of its second choice
	drawnDecay    = 0.95
)

func (o *odds) observe(told float64, hit bool) {
	o.told, o.hits, o.trials = o.told*oddsDecay+told, o.hits*oddsDecay, o.trials*oddsDecay+1
	if hit {
		o.hits++
	}
}

// shift is a told probability by these odds; both sides get the prior at what was told.
func (o *odds) shift(r, prior float64) float64 {
	hit := (o.hits + prior*r) / (o.told + prior*r)
	miss := (o.trials - o.hits + prior*(1-r)) / (o.trials - o.told + prior*(1-r))
	return r * hit / (r*hit + (1-r)*miss)
}

// first is the probability that the draft's choice is the target's.
func (c *calibration) first(raw float32) float64 {
	return c.like[calBin(calRaw(raw))].shift(c.all.shift(calRaw(raw), oddsPrior), oddsPriorLike)
}

// coverage is how often the second choice is right where the first is not.
func (c *calibration) coverage() float64 { return c.missed.shift(secondRate, oddsPrior) }

// rate is how often the draft is expected to be right, by what it told of late.
func (c *calibration) rate() float64 { return (c.hopes + oddsPrior*firstRate) / (c.drawn + oddsPrior) }

// drew notes a drafted token.
func (c *calibration) drew(raw float32) {
	c.hopes, c.drawn = c.hopes*drawnDecay+c.first(raw), c.drawn*drawnDecay+1
}

func (c *calibration) observe(raw float32, hit, second bool) {
	r := calRaw(raw)
	c.like[calBin(r)].observe(c.all.shift(r, oddsPrior), hit)
	c.all.observe(r, hit)
	if !hit {
		c.missed.observe(secondRate, second)
	}
}

// Experience is what sessions have learned of one draft, for those that come. The zero value knows nothing.
type Experience struct {
	c     calibration
	spare float64 // earned and not yet lent, in rows
}

// experienced is how much of it counts in a session of its own, in trials.
const experienced = 48

// begin is what a new session knows.
func (e *Experience) begin() *calibration {
	if e == nil {
		return &calibration{}
	}
	c := &calibration{all: e.c.all.some(experienced), missed: e.c.missed.some(experienced)}
	if e.c.drawn > 0 {
		part := min(1, experienced/2/e.c.drawn)
		c.hopes, c.drawn = e.c.hopes*part, e.c.drawn*part
	}
	return c
}

func (e *Experience) observe(raw float32, hit, second bool) {
	if e != nil {
		e.c.observe(raw, hit, second)
	}
}

func (e *Experience) drew(raw float32) {
	if e != nil {
		e.c.drew(raw)
	}
}

// Of what a session saves with the draft a share is lent to those that come, and no more than some steps at once.
const (
	lendShare = 0.1
	lendSteps = 16
	lentSteps = 4 // to one
)

func (e *Experience) earn(rows, ratio float64) {
	if e != nil {
		e.spare = min(e.spare+lendShare*rows, lendSteps*ratio)
	}
}

func (e *Experience) lend(rows float64) float64 {
	if e == nil {
		return 0
	}
	rows = max(0, min(rows, e.spare))
	e.spare -= rows
	return rows
}

// some is so many trials of these odds at most.
func (o odds) some(trials float64) odds {
	part := min(1, trials/max(o.trials, 1))
	return odds{o.told * part, o.hits * part, o.trials * part}
}

// catchUp is over how many drafted tokens the rows count that a draft runs to catch up with a log.
const catchUp = 16

// PlanDrafts chooses the bids whose wishes are drafted, in one batch, before the step that Plan would make of
// all: those that raise the expected tokens per unit of time of drafts and step together. spent is what has
// been drafted for. nil: the step is to be made now. Since the draft holds up everybody in the step, it is the first
// thing to be given up as load rises; and half of a step's rows stay free of it.
func PlanDrafts(bids []Bid, l Limits, target, draft Cost, spent time.Duration) []int {
	if !slices.ContainsFunc(bids, func(b Bid) bool { return b.Ready && b.Wish != nil }) {
		return nil
	}
	tokens, cost, left := 0.0, float64(target.Step+spent), l.Positions-l.Positions/2
	var wishes []int
	for _, g := range Plan(bids, l, target) {
		b := &bids[g.Bid]
		tokens++
		rows := g.N
		if b.Prefill == 0 {
			rows++
			for i := range g.N {
				if i < len(b.Values) {
					tokens += b.Values[i]
				} else {
					tokens += b.Own[i-len(b.Values)]
				}
			}
		}
		left -= rows
		cost += float64(target.Sequence) + float64(rows)*float64(target.Position)
		if w := b.Wish; w != nil && (g.N == len(b.Values)+len(b.Own) || g.N > len(b.Values) && b.Own[g.N-len(b.Values)] < w.Value) {
			wishes = append(wishes, g.Bid)
		}
	}
	least := tokens / cost
	price := func(i int) float64 { return bids[i].Wish.price(draft, catchUp) + float64(target.Position) }
	wishes = slices.DeleteFunc(wishes, func(i int) bool { return bids[i].Wish.Value <= least*price(i) })
	slices.SortStableFunc(wishes, func(a, b int) int { return cmp.Compare(bids[b].Wish.Value, bids[a].Wish.Value) })
	wishes = wishes[:min(len(wishes), max(0, left))]
	for n := -1; n != len(wishes); { // who cannot pay leaves a larger share of the step to the others
		n = len(wishes)
		wishes = slices.DeleteFunc(wishes, func(i int) bool { return WishPrice(bids[i].Wish, n, target, draft) > bids[i].Wish.Credit })
	}
	gain, more := 0.0, float64(draft.Step)
	for _, i := range wishes {
		gain, more = gain+bids[i].Wish.Value, more+price(i)
	}
	if gain <= least*more {
		return nil
	}
	return wishes
}

// price is what a wish costs besides the draft's step, in nanoseconds, where all rows but the last count over so many
// tokens.
func (w *Wish) price(draft Cost, over float64) float64 {
	return float64(draft.Sequence) + (1+float64(max(0, w.Rows-1))/over)*float64(draft.Position)
}

// WishPrice is what a session is charged for a wish, one of so many in a step of the draft, in rows of the target.
func WishPrice(w *Wish, many int, target, draft Cost) float64 {
	return (float64(draft.Step)/float64(max(1, many)) + w.price(draft, 1)) / float64(max(1, target.Position))
}

// DraftCredit is the Credit of a session with a draft in the cloud: at its best it commits more within half a
// second than DefaultCredit.
const DraftCredit = 256

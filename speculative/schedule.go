package speculative

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Cost is the measured cost of a target step: Step + Sequence per sequence + Position per row.
type Cost struct {
	Step, Sequence, Position time.Duration
}

// Ratio is (step + position) / position, by which scoring credit is earned (protocol.md, rule 6).
func (c Cost) Ratio() float64 {
	if c.Position <= 0 {
		return maxRatio
	}
	return min(maxRatio, float64(c.Step+c.Sequence+c.Position)/float64(c.Position))
}

const maxRatio = 1000

// Bid is one session's offer to the scheduler.
type Bid struct {
	Offer
	Behind bool    // behind its pace: served first
	Since  Time    // when the session was last served; the longest waiting goes first among equals
	Tenant *Tenant // whose session it is; nil: all are of one
}

// Limits bounds one step.
type Limits struct {
	Positions int // rows in all, prompt chunks included
	Sequences int // sequences in one step; 0: no bound
	// Prefill is how many rows of a step that also decodes are kept for prompt chunks: of half of it, and
	// for the first rows of each prompt of all that sessions behind their pace can spare, since who is
	// ahead of its pace can wait and who has no first token cannot. They take no more, so that a long
	// prompt holds nobody up. 0: they take what is left.
	Prefill int
}

// Grant gives the bid with this index n positions: prompt tokens, or nodes besides the root.
type Grant struct {
	Bid, N int
}

// Plan fills one step of the target (protocol.md, rule 11): of the tenant that has had least by its weight,
// and of one tenant's sessions those behind their pace first, then
// whatever yields the most expected tokens per unit of cost. A root yields one token, a draft its
// path probability, so drafts, branches and run-ahead give way by themselves as load rises.
func Plan(bids []Bid, l Limits, c Cost) []Grant {
	var prompts, roots []root
	need, short, behind := 0, 0, 0
	for i, b := range bids {
		switch {
		case !b.Ready:
		case b.Prefill > 0:
			prompts = append(prompts, root{bid: i})
			need += b.Prefill
			short += min(b.Prefill, l.Positions/8)
		default:
			if b.Behind {
				behind++
			}
			r := root{bid: i}
			r.nodes, r.density = bestPrefix(b.Values, c)
			roots = append(roots, r)
		}
	}
	if l.Sequences <= 0 {
		l.Sequences = len(bids)
	}
	if len(prompts) == 0 {
		return planRoots(bids, roots, l, c)
	}
	if (l.Positions < 2 || l.Sequences < 2) && longestWait(bids, prompts) <= longestWait(bids, roots) {
		roots = nil // no place for both
	}
	grants := planRoots(bids, roots, Limits{
		Positions: l.Positions - min(l.Prefill, max(min(need, l.Positions/2), min(short, l.Positions-behind-1))),
		Sequences: max(1, l.Sequences-min(len(prompts), max(1, l.Sequences/8, l.Sequences-behind))),
	}, c)
	left := l.Positions
	for _, g := range grants {
		left -= 1 + g.N
	}
	if l.Prefill > 0 && len(grants) > 0 {
		left = min(left, l.Prefill)
	}
	slices.SortStableFunc(prompts, func(a, b root) int { return cmp.Compare(bids[a.bid].Since, bids[b.bid].Since) })
	prompts = fairly(bids, prompts, c)
	for _, p := range prompts[:min(len(prompts), l.Sequences-len(grants))] {
		if left <= 0 {
			break
		}
		n := min(bids[p.bid].Prefill, left)
		grants = append(grants, Grant{p.bid, n})
		left -= n
	}
	return grants
}

// root is a session that may take part in the step.
type root struct {
	bid     int
	nodes   int     // that give it the densest share
	density float64 // expected tokens per unit of cost with these
}

func longestWait(bids []Bid, roots []root) Time {
	first := Time(math.MaxInt64)
	for _, r := range roots {
		first = min(first, bids[r.bid].Since)
	}
	return first
}

// byPace sorts roots: those behind pace by waiting time, then by density, then by waiting time.
func byPace(bids []Bid) func(a, b root) int {
	return func(a, b root) int {
		x, y := &bids[a.bid], &bids[b.bid]
		switch {
		case x.Behind && !y.Behind:
			return -1
		case y.Behind && !x.Behind:
			return 1
		case x.Behind && x.Since != y.Since: // by density the least dense of these would starve
			return cmp.Compare(x.Since, y.Since)
		}
		return cmp.Or(cmp.Compare(b.density, a.density), cmp.Compare(x.Since, y.Since))
	}
}

// bestPrefix returns how many nodes give the session's densest share of a step, and that density.
func bestPrefix(values []float64, c Cost) (n int, density float64) {
	per, tokens := max(1, float64(c.Position)), 1.0
	density = 1 / (float64(c.Sequence) + per)
	for i, v := range values {
		tokens += v
		if d := tokens / (float64(c.Sequence) + per*float64(i+2)); d > density {
			n, density = i+1, d
		}
	}
	return n, density
}

// planRoots grants sessions in order their densest share, then adds nodes by falling value while
// they raise the step's yield: a node's value per position must beat the step's expected tokens
// per unit of cost so far.
func planRoots(bids []Bid, roots []root, l Limits, c Cost) []Grant {
	crowded(bids, roots, l, c)
	slices.SortStableFunc(roots, byPace(bids))
	roots = fairly(bids, roots, c)
	left, tokens, cost := l.Positions, 0.0, float64(c.Step)
	var grants []Grant
	var nodes []spare
	for _, r := range roots[:min(len(roots), l.Sequences)] {
		if left <= 0 {
			break
		}
		g := Grant{Bid: r.bid, N: min(r.nodes, left-1)}
		for at, v := range bids[r.bid].Values {
			if at < g.N {
				tokens += v
			} else {
				nodes = append(nodes, spare{len(grants), at, v})
			}
		}
		grants = append(grants, g)
		tokens++
		left -= 1 + g.N
		cost += float64(c.Sequence) + float64(1+g.N)*float64(c.Position)
	}
	slices.SortStableFunc(nodes, func(a, b spare) int { return cmp.Compare(b.value, a.value) })
	for _, n := range nodes[:min(len(nodes), left)] {
		if n.value*cost < tokens*float64(c.Position) {
			break
		}
		if g := &grants[n.grant]; g.N == n.at {
			g.N++
			tokens += n.value
			cost += float64(c.Position)
			left--
		}
	}
	if len(grants) == len(roots) {
		addOwn(bids, grants, left-l.Positions/2, tokens, cost, c)
	}
	return grants
}

// addOwn adds the cloud's own proposals to sessions that have all their nodes in the step, while they raise
// its yield. They come last and leave half of a step's rows free: what an edge has drafted costs the cloud
// nothing, and is there.
func addOwn(bids []Bid, grants []Grant, left int, tokens, cost float64, c Cost) {
	var nodes []spare
	for i, g := range grants {
		if b := &bids[g.Bid]; g.N == len(b.Values) {
			for at, v := range b.Own {
				nodes = append(nodes, spare{i, g.N + at, v})
			}
		}
	}
	slices.SortStableFunc(nodes, func(a, b spare) int { return cmp.Compare(b.value, a.value) })
	for _, n := range nodes[:min(len(nodes), max(0, left))] {
		if tokens*float64(c.Position) > n.value*cost {
			break
		}
		grants[n.grant].N++
		tokens += n.value
		cost += float64(c.Position)
	}
}

// crowded shortens the sessions' densest shares when not all have room: a row then costs the place of
// another session's root. Were the sessions alike, a step with the nodes worth at least some bound
// would have room for so many of them; the bound with the best yield is taken.
func crowded(bids []Bid, roots []root, l Limits, c Cost) {
	rows, n := len(roots), float64(len(roots))
	for _, r := range roots {
		rows += r.nodes
	}
	if rows <= l.Positions || len(roots) == 0 {
		return
	}
	values := make([]float64, 0, rows)
	for _, r := range roots {
		values = append(values, bids[r.bid].Values[:r.nodes]...)
	}
	slices.SortFunc(values, func(a, b float64) int { return cmp.Compare(b, a) })
	bound, best, sum := 2.0, 0.0, 0.0
	for k := 0; k <= len(values); k++ {
		if k > 0 {
			sum += values[k-1]
		}
		each := 1 + float64(k)/n
		m := min(n, float64(l.Positions)/each, float64(l.Sequences))
		yield := m * (1 + sum/n) / (float64(c.Step) + m*(float64(c.Sequence)+each*float64(c.Position)))
		if yield > best {
			best = yield
			if bound = 2; k > 0 {
				bound = values[k-1]
			}
		}
	}
	for i := range roots {
		r := &roots[i]
		for r.nodes > 0 && bids[r.bid].Values[r.nodes-1] < bound {
			r.nodes--
		}
	}
}

// spare is a node that could join a grant as its at-th.
type spare struct {
	grant, at int
	value     float64
}

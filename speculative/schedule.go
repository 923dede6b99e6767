package speculative

import (
	"cmp"
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
	Behind bool // behind its pace: served first
	Since  Time // when the session was last served; the longest waiting goes first among equals
}

// Limits bounds one step.
type Limits struct {
	Positions int // rows in all, prompt chunks included
	Sequences int // sequences in one step; 0: no bound
	Prefill   int // rows for prompt chunks when any session waits for one: kept for them, and no more; 0: what is left
}

// Grant gives the bid with this index n positions: prompt tokens, or nodes besides the root.
type Grant struct {
	Bid, N int
}

// Plan fills one step of the target (protocol.md, rule 11): sessions behind their pace first, then
// whatever yields the most expected tokens per unit of cost. A root yields one token, a draft its
// path probability, so drafts, branches and run-ahead give way by themselves as load rises.
func Plan(bids []Bid, l Limits, c Cost) []Grant {
	left := l.Positions
	var prompts, roots []int
	for i, b := range bids {
		switch {
		case !b.Ready:
		case b.Prefill > 0:
			prompts = append(prompts, i)
		default:
			roots = append(roots, i)
		}
	}
	order(bids, roots, c)
	reserve, most := 0, l.Sequences
	if len(prompts) > 0 {
		reserve = min(l.Prefill, l.Positions/2)
		if l.Sequences > 1 { // a place in the step, too
			l.Sequences -= min(len(prompts), max(1, l.Sequences/8))
		}
	}
	grants, used := planRoots(bids, roots, l, left-reserve, c)
	if left -= used; l.Prefill > 0 {
		left = min(left, l.Prefill)
	}
	l.Sequences = most
	slices.SortStableFunc(prompts, func(i, j int) int { return cmp.Compare(bids[i].Since, bids[j].Since) })
	for _, i := range prompts {
		if left <= 0 || (l.Sequences > 0 && len(grants) >= l.Sequences) {
			break
		}
		n := min(bids[i].Prefill, left)
		grants = append(grants, Grant{i, n})
		left -= n
	}
	return grants
}

// order sorts roots: behind pace, then density, then the longest waiting.
func order(bids []Bid, roots []int, c Cost) {
	density := make(map[int]float64, len(roots))
	for _, i := range roots {
		_, density[i] = bestPrefix(bids[i].Values, c)
	}
	slices.SortStableFunc(roots, func(i, j int) int {
		a, b := bids[i], bids[j]
		if a.Behind != b.Behind {
			if a.Behind {
				return -1
			}
			return 1
		}
		if a.Behind && a.Since != b.Since { // density among those behind would starve the least dense
			return cmp.Compare(a.Since, b.Since)
		}
		if d := cmp.Compare(density[j], density[i]); d != 0 {
			return d
		}
		return cmp.Compare(a.Since, b.Since)
	})
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

// planRoots grants roots in order, then adds nodes by falling value while they raise the step's
// yield: value per position must beat the tokens per unit of cost of the step as planned so far.
func planRoots(bids []Bid, roots []int, l Limits, left int, c Cost) ([]Grant, int) {
	budget := left
	var grants []Grant
	type node struct {
		grant, at int
		v         float64
	}
	var nodes []node
	tokens := 0.0
	for _, i := range roots {
		if left <= 0 || (l.Sequences > 0 && len(grants) >= l.Sequences) {
			break
		}
		left--
		for at, v := range bids[i].Values {
			nodes = append(nodes, node{len(grants), at, v})
		}
		grants = append(grants, Grant{Bid: i})
		tokens++
	}
	slices.SortStableFunc(nodes, func(a, b node) int { return cmp.Compare(b.v, a.v) })
	cost := float64(c.Step) + float64(len(grants))*float64(c.Sequence+c.Position)
	for _, n := range nodes {
		if left <= 0 {
			break
		}
		if g := &grants[n.grant]; g.N == n.at && n.v*cost >= tokens*float64(c.Position) {
			g.N++
			left--
			tokens += n.v
			cost += float64(c.Position)
		}
	}
	return grants, budget - left
}

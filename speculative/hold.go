package speculative

import "time"

// Under a bound on passes the verifier waits, each time for a bounded while: a run-ahead pass for the
// next proposal, a scoring pass while proposals keep arriving. Where Patience is set, the waiting is paid
// from the time that accepted tokens have saved.

const (
	gatherMost  = 40 * time.Millisecond // a scoring pass is held no longer than this
	gatherWorth = 0.6                   // nor for less: the path probability of the likeliest end of a path
	gatherLeast = time.Millisecond      // between proposals, as far as is known at first
)

// gather is the rhythm in which proposals come.
type gather struct {
	waiting bool
	since   Time
	last    Time          // when the last proposal came
	rhythm  time.Duration // smoothed time between proposals, pauses apart
}

func (g *gather) arrived(now Time) {
	if d := now - g.last; g.last > 0 && d < gatherMost {
		if g.rhythm == 0 {
			g.rhythm = d
		}
		g.rhythm += (d - g.rhythm) / 8
	}
	g.last = now
}

// bounded says whether a pass that is expected to commit so many tokens would break the bound.
func (v *Verifier) bounded(tokens float64) bool {
	return v.c.MaxPassesPerToken < 1 && v.tokens > 0 && float64(v.passes+1) > v.c.MaxPassesPerToken*(float64(v.tokens)+tokens)
}

// gatherUntil says when a scoring pass over these nodes may go. One more token of a path costs next to
// nothing in a pass, so under a bound it is worth waiting while proposals keep their rhythm and what
// comes next is likely to hold.
func (v *Verifier) gatherUntil(now Time, nodes []*vnode) Time {
	tokens, best := 1.0, 0.0
	inner := make(map[*vnode]bool, len(nodes))
	for _, n := range nodes {
		tokens += n.value
		inner[n.up] = true
	}
	for _, n := range nodes {
		if !inner[n] {
			best = max(best, n.value)
		}
	}
	if best < gatherWorth || !v.bounded(tokens) {
		return now
	}
	g := &v.gather
	if !g.waiting {
		g.waiting, g.since = true, now
	}
	return min(g.since+v.afford(gatherMost), g.last+2*max(g.rhythm, gatherLeast))
}

// runAheadAt says when the session may run ahead, with own proposals of these path probabilities.
func (v *Verifier) runAheadAt(now Time, own []float64) Time {
	tokens := 1.0
	for _, p := range own {
		tokens += p
	}
	if v.silent || !v.bounded(tokens) {
		return now
	}
	if !v.waiting {
		v.waiting, v.wait = true, now
	}
	return v.wait + v.afford(max(v.c.Defer, 2*v.gapMean))
}

// afford cuts a wait to what has been saved.
func (v *Verifier) afford(d time.Duration) time.Duration {
	if v.c.Patience <= 0 {
		return d
	}
	return min(d, time.Duration(max(0, v.spare)))
}

// spend notes the time for which the segment that begins was held back.
func (v *Verifier) spend() {
	if v.waiting {
		v.spare -= float64(v.offered - v.wait)
	} else if v.gather.waiting {
		v.spare -= float64(v.offered - v.gather.since)
	}
}

// save notes what a scored segment saved: a step for each accepted token, less the scored rows.
func (v *Verifier) save(step time.Duration, s Segment, accepted int, ratio float64) {
	saved := float64(accepted) - float64(len(s.Tokens)-1)/max(1, ratio)
	v.spare += v.c.Patience * saved * float64(step)
}

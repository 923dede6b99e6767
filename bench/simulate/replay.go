package simulate

import "sort"

// part is a recorded session in the place of the positions from start on.
type part struct {
	start, session int
}

// recorded is what the trace says of a position: recorded sessions, drawn with replacement, one after the
// other.
func (p *pair) recorded(pos int) (outcome byte, confidence float32) {
	all := p.m.Trace.Sessions
	at := max(0, pos-p.prompt)
	end := 0
	if n := len(p.picked); n > 0 {
		end = p.picked[n-1].start + len(all[p.picked[n-1].session].Outcome)
	}
	for end <= at {
		k := int(mix(p.seed, uint64(len(p.picked))<<8|9) % uint64(len(all)))
		p.picked = append(p.picked, part{end, k})
		end += len(all[k].Outcome)
	}
	i := sort.Search(len(p.picked), func(i int) bool { return p.picked[i].start > at }) - 1
	s := &all[p.picked[i].session]
	return s.Outcome[at-p.picked[i].start], s.Confidence[at-p.picked[i].start]
}

// elsewhere is the confidence at some recorded position: off the target's path the draft is no less sure
// of itself.
func (p *pair) elsewhere(n uint64) float32 {
	all := p.m.Trace.Sessions
	s := &all[n%uint64(len(all))]
	return s.Confidence[(n>>32)%uint64(len(s.Confidence))]
}

package simulate

import (
	"slices"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// reason is why a pass committed no more.
type reason int

const (
	surprised reason = iota // neither of the draft's choices was right
	firstSent               // the first was, and was drafted, but had not come
	firstNot                // the first was, but was not drafted
	otherSent
	otherNot
	reasons
)

var reasonWords = [reasons]string{"neither choice", "the first, under way", "the first, not drafted", "the second, under way", "the second, not drafted"}

// stopped says why a pass ended at the position of the log's last token.
func (x *session) stopped(end int) reason {
	first, second := x.pair.hit(end)
	if !first && !second {
		return surprised
	}
	why := otherNot
	if first {
		why = firstNot
	}
	if slices.ContainsFunc(x.p.Drafts(), x.right(end)) {
		why--
	}
	return why
}

// right says of a draft whether it is the target's token for a position, after a path of such.
func (x *session) right(end int) func(speculative.Draft) bool {
	return func(d speculative.Draft) bool {
		if d.Position != end {
			return false
		}
		for all, at := x.p.Drafts(), end; ; d, at = all[d.Parent], at-1 {
			if d.Token != x.pair.target(at) {
				return false
			}
			if d.Parent < 0 {
				return true
			}
		}
	}
}

// Where the passes go, of Outrider and of the oracle (docs/benchmarks.md has the table). The target is never idle, so
// passes per token are the time per token. One that scores nothing is put down to what ended the last that did, or
// to a surprise since.
func TestWhereTimeGoes(t *testing.T) {
	for _, rtt := range []time.Duration{10, 50, 100, 200} {
		var passes [2][reasons][2]float64
		for k, strategy := range []Strategy{Cooperative, Oracle} {
			c := standard(rtt * time.Millisecond)
			c.Strategy, c.Sessions = strategy, 30
			if full() {
				c.Sessions = 300
			}
			tokens, last := 0.0, map[*session]reason{}
			c.watch = func(x *session, seg speculative.Segment, m speculative.Commit) {
				if len(m.Tokens) == 0 {
					return
				}
				tokens += float64(len(m.Tokens))
				why, alone := x.stopped(m.Start+len(m.Tokens)-1), 0
				if len(seg.Tokens) == 1 {
					if alone = 1; why != surprised {
						why = last[x]
					}
				}
				last[x] = why
				passes[k][why][alone]++
			}
			f := sum(t, c)
			all := 0.0
			for why := range passes[k] {
				for i := range passes[k][why] {
					passes[k][why][i] /= tokens
					all += passes[k][why][i]
				}
			}
			if f.passes < all-0.01 || f.passes > all+0.01 {
				t.Errorf("RTT %d ms, %s: %.3f passes per token are accounted for, there were %.3f", rtt, strategy, all, f.passes)
			}
		}
		for why, word := range reasonWords {
			o, k := passes[0][why], passes[1][why]
			t.Logf("RTT %3d ms, %-24s scoring %.3f (oracle %.3f), alone %.3f (%.3f), in all %+.3f", rtt, word, o[0], k[0], o[1], k[1], o[0]+o[1]-k[0]-k[1])
		}
	}
}

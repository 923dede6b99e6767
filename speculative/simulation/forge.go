package simulation

import (
	"math"

	"github.com/outrider-llm/outrider/speculative"
)

// forge sends one message that no honest edge would send. What it deserves is for naive to say:
// many are malformed, the others are merely wrong, stale or useless.
func (s *Sim) forge(x *session) {
	if !x.link.up || !x.edge.linked || x.cloud.v == nil {
		return
	}
	s.result.Seen.Forged++
	if s.rng.IntN(8) == 0 {
		n := len(x.edge.p.Log()) + []int{-1 - len(x.edge.p.Log()), -1, 3, 500}[s.rng.IntN(4)]
		s.tracef(x, "hostile: ack %d", n)
		s.sendUp(x, upMessage{ack: &n, forged: true})
		return
	}
	m := s.forgery(x)
	s.tracef(x, "hostile: epoch %d first %d %v parents %v", m.Epoch, m.First, m.Tokens, m.Parents)
	s.sendUp(x, upMessage{propose: m, forged: true})
}

func (s *Sim) forgery(x *session) *speculative.Propose {
	r, l := s.rng, &x.edge.sent
	m := &speculative.Propose{Epoch: l.epoch, First: len(l.nodes)}
	if r.IntN(4) == 0 { // an epoch of its own
		m.Epoch, m.First = len(x.edge.p.Log())+r.IntN(3), 0
	}
	for range 1 + r.IntN(x.edge.window) {
		m.Tokens = append(m.Tokens, Token(r.IntN(x.world.Vocabulary)))
		m.Confidence = append(m.Confidence, r.Float32())
	}
	if r.IntN(2) == 0 { // a random tree
		for i := range m.Tokens {
			back := 1 + r.IntN(min(m.First+i+1, x.edge.window+1))
			m.Parents = append(m.Parents, int32(m.First+i-back))
		}
	}
	switch r.IntN(16) {
	case 0:
		m.Epoch = -1
	case 1:
		m.First = -1
	case 2:
		m.Parents = make([]int32, len(m.Tokens)+1)
	case 3:
		m.Confidence = m.Confidence[1:]
	case 4:
		m.Epoch, m.First = len(x.cloud.v.Log())+20, 0
	case 5:
		m.First += 1 + r.IntN(3)
	case 6:
		m.Epoch, m.First = len(x.edge.p.Log()), 1
	case 7: // says something else about a node that was sent
		m.First = max(0, m.First-1-r.IntN(3))
	case 8, 12:
		m.Parents = make([]int32, len(m.Tokens))
		m.Parents[r.IntN(len(m.Tokens))] = []int32{-2, int32(m.First) + 100, math.MaxInt32, int32(max(-1, m.First-x.edge.window-2-r.IntN(3)))}[r.IntN(4)]
	case 9:
		for range 2 * x.edge.window {
			m.Tokens, m.Parents, m.Confidence = append(m.Tokens, 1), nil, nil
		}
	case 13: // knows the answer, and goes on behind the end
		log := x.edge.p.Log()
		m.Epoch, m.First, m.Parents, m.Confidence = len(log), 0, nil, nil
		rest := append(append([]Token{}, x.want[min(len(log), len(x.want)):]...), 1, 1, 1)
		m.Tokens = rest[max(0, len(rest)-x.edge.window):]
		m.Epoch = len(x.want) + 3 - len(m.Tokens)
	case 10: // an old epoch
		m.Epoch = max(0, m.Epoch-1-r.IntN(5))
	case 11:
		m.Confidence[0] = []float32{float32(math.NaN()), -5, 1e30}[r.IntN(3)]
	}
	return m
}

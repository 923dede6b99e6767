package speculative

import (
	"cmp"
	"slices"
)

// nodeState is what the verifier knows of one node.
type nodeState uint8

const (
	pending   nodeState = iota // its path may still agree with the log
	committed                  // its path agrees with the log and its position is decided
	dead
)

// vnode is one node of the newest epoch.
type vnode struct {
	number, parent int // parent -1: the epoch's base
	pos            int
	token          Token
	q              *Sparse // what it was drawn from
	state          nodeState
	p              float64 // told confidence given the parent
	scored         bool    // was part of a segment
	up             *vnode  // the parent while it is pending, nil: this position is decided next
	value          float64 // path probability: p times that of up
	row            int32   // index among the candidates
	own            bool    // the cloud's own, and in no nodeSet
}

// nodeSet holds the nodes of the newest epoch: liveness is per node (protocol.md, rule 2). Memory
// is bounded by the window: a parent may lie at most window nodes back.
type nodeSet struct {
	window int
	chains bool // candidates form a chain
	epoch  int
	first  int      // number of ring[0]
	ring   []*vnode // the newest nodes
	live   []*vnode // pending, in order of arrival; parents come before children
}

func (s *nodeSet) count() int { return s.first + len(s.ring) }

// begin starts an epoch and returns how many nodes of the old one end unscored.
func (s *nodeSet) begin(epoch int) (stale int) {
	for _, n := range s.live {
		if !n.scored {
			stale++
		}
	}
	*s = nodeSet{window: s.window, chains: s.chains, epoch: epoch}
	return stale
}

// add takes a Propose of the newest epoch apart. It changes nothing but node state.
func (s *nodeSet) add(m *Propose, log []Token, u *Usage) error {
	if m.First > s.count() {
		return protocolError("proposal of epoch %d starts at node %d, %d are known", m.Epoch, m.First, s.count())
	}
	for i, t := range m.Tokens {
		number, parent := m.First+i, m.parent(i)
		if number < s.count() {
			if number >= s.first {
				if o := s.ring[number-s.first]; o.token != t || o.parent != parent || !o.q.equal(m.drawnFrom(i)) {
					return protocolError("node %d was sent twice and differs", number)
				}
			}
			continue
		}
		if parent < -1 || parent >= number {
			return protocolError("node %d has parent %d", number, parent)
		}
		if parent < number-s.window-1 {
			return protocolError("node %d reaches back to node %d, beyond the window of %d", number, parent, s.window)
		}
		if err := s.insert(&vnode{number: number, parent: parent, token: t, p: m.confidence(i), q: m.drawnFrom(i)}, log, u); err != nil {
			return err
		}
	}
	s.trim()
	return nil
}

func (s *nodeSet) insert(n *vnode, log []Token, u *Usage) error {
	n.pos = s.epoch
	if n.parent >= 0 {
		p := s.ring[n.parent-s.first]
		n.pos = p.pos + 1
		switch p.state {
		case dead:
			n.state = dead
		case pending:
			n.up = p
		}
	}
	switch {
	case n.state == dead:
	case n.up != nil || n.pos >= len(log):
		if len(s.live) >= s.window {
			return protocolError("more than %d nodes pending", s.window)
		}
		s.live = append(s.live, n)
	case log[n.pos] == n.token:
		n.state = committed
		u.Late++
	default:
		n.state = dead
	}
	u.Drafted++
	if n.state == dead {
		u.Stale++
	}
	s.ring = append(s.ring, n)
	return nil
}

// trim forgets nodes that no new node may name as parent.
func (s *nodeSet) trim() {
	if extra := len(s.ring) - (s.window + 1); extra > s.window {
		s.ring = append(s.ring[:0:0], s.ring[extra:]...)
		s.first += extra
	}
}

// candidates returns the pending nodes before the end position (0: no end), the most probable path
// first; so a prefix of the result is a tree; with chains set it is the chain of the best children.
func (s *nodeSet) candidates(end int) []*vnode {
	var out []*vnode
	for _, n := range s.live {
		if n.value = n.p; n.up != nil {
			n.value *= n.up.value
		}
		if end == 0 || n.pos < end {
			out = append(out, n)
		}
	}
	slices.SortStableFunc(out, func(a, b *vnode) int { return cmp.Compare(b.value, a.value) })
	if !s.chains {
		return out
	}
	var last *vnode
	return slices.DeleteFunc(out, func(n *vnode) bool {
		if n.up != last {
			return true
		}
		last = n
		return false
	})
}

// advance decides the next position: its pending nodes agree with the log or die, and with them
// whatever hangs to them. It returns how many nodes were overtaken (late) and died unscored.
func (s *nodeSet) advance(t Token) (late, stale int) {
	keep := s.live[:0]
	for _, n := range s.live {
		switch {
		case n.up == nil && n.token == t:
			n.state = committed
		case n.up == nil || n.up.state == dead:
			n.state, n.up = dead, nil
		case n.up.state == committed:
			n.up = nil
			keep = append(keep, n)
		default:
			keep = append(keep, n)
		}
		switch {
		case n.scored || n.state == pending:
		case n.state == committed:
			late++
		default:
			stale++
		}
	}
	clear(s.live[len(keep):])
	s.live = keep
	return late, stale
}

package speculative

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
	state          nodeState
	p              float32 // told confidence given the parent, negative: unknown
	scored         bool    // was part of a segment
}

// nodeSet holds the nodes of the newest epoch: liveness is per node (protocol.md, rule 2). Memory
// is bounded by the window: a parent may lie at most window nodes back.
type nodeSet struct {
	window int
	epoch  int
	first  int      // number of ring[0]
	ring   []*vnode // the newest nodes
	live   []*vnode // pending, in order of arrival; parents come before children
	tip    int      // node that matches the log's last token, -1 the base, noTip none
}

const noTip = -2

func (s *nodeSet) count() int { return s.first + len(s.ring) }

// begin starts an epoch on a log of the given length.
func (s *nodeSet) begin(epoch, length int) {
	*s = nodeSet{window: s.window, epoch: epoch, tip: noTip}
	if epoch == length {
		s.tip = -1
	}
}

// add takes a Propose of the newest epoch apart. It changes nothing but node state.
func (s *nodeSet) add(m *Propose, log []Token, u *Usage) error {
	if m.First > s.count() {
		return protocolError("proposal starts at node %d, %d are known", m.First, s.count())
	}
	for i, t := range m.Tokens {
		number, parent := m.First+i, m.parent(i)
		if number < s.count() {
			if number >= s.first {
				if o := s.ring[number-s.first]; o.token != t || o.parent != parent {
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
		if err := s.insert(&vnode{number: number, parent: parent, token: t, p: confidence(m, i)}, log, u); err != nil {
			return err
		}
	}
	s.trim()
	return nil
}

func confidence(m *Propose, i int) float32 {
	if i < len(m.Confidence) {
		return m.Confidence[i]
	}
	return -1
}

func (s *nodeSet) insert(n *vnode, log []Token, u *Usage) error {
	u.Drafted++
	parentState := committed
	n.pos = s.epoch
	if n.parent >= 0 {
		p := s.ring[n.parent-s.first]
		parentState, n.pos = p.state, p.pos+1
	}
	switch {
	case parentState == dead:
		n.state = dead
		u.Stale++
	case parentState == committed && n.pos < len(log):
		if log[n.pos] == n.token {
			n.state = committed
			u.Late++
			if n.pos == len(log)-1 {
				s.tip = n.number
			}
		} else {
			n.state = dead
			u.Stale++
		}
	default:
		if len(s.live) >= s.window {
			return protocolError("more than %d nodes pending", s.window)
		}
		n.state = pending
		s.live = append(s.live, n)
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

// reachable returns the pending nodes that hang to the tip, in order, with parents as indices into
// the result (-1: the tip).
func (s *nodeSet) reachable() (nodes []*vnode, parents []int32) {
	if s.tip == noTip || len(s.live) == 0 {
		return nil, nil
	}
	index := make(map[int]int32, len(s.live))
	for _, n := range s.live {
		parent := int32(-1)
		if n.parent != s.tip {
			i, ok := index[n.parent]
			if !ok {
				continue
			}
			parent = i
		}
		index[n.number] = int32(len(nodes))
		nodes, parents = append(nodes, n), append(parents, parent)
	}
	return nodes, parents
}

// advance decides one position: the pending child of the tip with this token becomes the tip, what
// does not descend from it dies. It returns that child, if any, and how many nodes died unscored.
func (s *nodeSet) advance(t Token) (next *vnode, stale int) {
	if s.tip != noTip {
		for _, n := range s.live {
			if n.parent == s.tip && n.token == t {
				next = n
			}
		}
	}
	s.tip = noTip
	if next != nil {
		next.state, s.tip = committed, next.number
	}
	keep := s.live[:0]
	state := map[int]nodeState{}
	for _, n := range s.live {
		if n == next {
			continue
		}
		if parent, ok := state[n.parent]; next != nil && n.parent == next.number || ok && parent == pending {
			state[n.number] = pending
			keep = append(keep, n)
			continue
		}
		if n.state = dead; !n.scored {
			stale++
		}
	}
	clear(s.live[len(keep):])
	s.live = keep
	return next, stale
}

package grammar

// State is where a text stands in a grammar. It is immutable but for a cache that its grammar guards.
type State struct {
	threads  []thread
	complete bool     // the text may end here
	next     []*State // by class of byte; nil: not known yet
}

// thread is one way of reading the text so far: the instruction that waits for a byte and what
// follows when its rule returns.
type thread struct {
	pc    int32
	stack *frame
}

// frame is a return address. Equal frames of one cache are one pointer.
type frame struct {
	frameKey
	id uint64
}

type frameKey struct {
	up    *frame
	pc    int32
	count int32 // repetitions done once it returns, -1: not a repetition
}

// cache keeps states, so that a text that comes back to where another one was costs a lookup.
type cache struct {
	states map[uint64][]*State
	frames map[frameKey]*frame
	kept   []*State
	lastID uint64
	dead   *State

	threads []thread // scratch
	visited map[visit]struct{}
	work    []visit
}

type visit struct {
	pc, count int32
	stack     *frame
}

const (
	maxStates = 4096
	maxFrames = 1 << 16
	maxVisits = 8 * maxThreads
)

func (c *cache) reset() {
	for _, s := range c.kept {
		s.next = nil // so that a state in use does not keep the others
	}
	c.kept, c.states, c.frames = nil, map[uint64][]*State{}, map[frameKey]*frame{}
	if c.visited == nil {
		c.visited = map[visit]struct{}{}
	}
}

func (c *cache) push(up *frame, pc, count int32) *frame {
	k := frameKey{up, pc, count}
	f := c.frames[k]
	if f == nil {
		c.lastID++
		f = &frame{k, c.lastID}
		c.frames[k] = f
	}
	return f
}

// Start is the state before the first byte.
func (g *Grammar) Start() *State {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begin()
	complete := g.follow(visit{pc: g.start, count: -1})
	return g.intern(complete)
}

// Complete says whether the text may end here.
func (s *State) Complete() bool { return s != nil && s.complete }

// Step returns the state after more text, nil when none may follow.
func (g *Grammar) Step(s *State, text []byte) *State {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range text {
		if s = g.step(s, b); s == nil {
			return nil
		}
	}
	return s
}

// step takes one byte; the lock is held.
func (g *Grammar) step(s *State, b byte) *State {
	if s == nil {
		return nil
	}
	class := g.class[b]
	if s.next == nil {
		if len(s.threads) == 0 {
			return nil
		}
		s.next = make([]*State, len(g.reps))
		g.cache.kept = append(g.cache.kept, s)
	}
	n := s.next[class]
	if n == nil {
		if n = g.compute(s, b); n == nil {
			n = g.cache.dead
		}
		if s.next != nil { // else the cache was just emptied
			s.next[class] = n
		}
	}
	if n == g.cache.dead {
		return nil
	}
	return n
}

func (g *Grammar) begin() {
	g.cache.threads = g.cache.threads[:0]
	clear(g.cache.visited)
}

func (g *Grammar) compute(s *State, b byte) *State {
	g.begin()
	complete := false
	for _, t := range s.threads {
		for _, e := range g.prog[t.pc].edges {
			if e.lo <= b && b <= e.hi && g.follow(visit{e.to, -1, t.stack}) {
				complete = true
			}
		}
	}
	if len(g.cache.threads) == 0 && !complete {
		return nil
	}
	return g.intern(complete)
}

// follow collects the threads that wait for a byte behind an instruction, and says whether the end
// is among what it meets. What is beyond the bounds is left out: the text stays valid, it only has
// fewer ways to go on.
func (g *Grammar) follow(from visit) (complete bool) {
	c := &g.cache
	c.work = append(c.work[:0], from)
	for len(c.work) > 0 {
		v := c.work[len(c.work)-1]
		c.work = c.work[:len(c.work)-1]
		if _, seen := c.visited[v]; seen || len(c.visited) >= maxVisits {
			continue
		}
		c.visited[v] = struct{}{}
		n := &g.prog[v.pc]
		switch n.op {
		case opBytes:
			if len(n.edges) > 0 && len(c.threads) < maxThreads {
				c.threads = append(c.threads, thread{v.pc, v.stack})
			}
		case opAlt:
			for i := len(n.targets) - 1; i >= 0; i-- {
				c.work = append(c.work, visit{n.targets[i], -1, v.stack})
			}
		case opCall:
			c.work = append(c.work, visit{n.x, -1, c.push(v.stack, n.y, -1)})
		case opRepeat:
			done := max(0, v.count)
			if done >= n.min {
				c.work = append(c.work, visit{n.y, -1, v.stack})
			}
			if n.max < 0 || done < n.max {
				count := done + 1
				if n.max < 0 {
					count = min(count, n.min)
				}
				c.work = append(c.work, visit{n.x, -1, c.push(v.stack, v.pc, count)})
			}
		case opReturn:
			if v.stack != nil {
				c.work = append(c.work, visit{v.stack.pc, v.stack.count, v.stack.up})
			}
		case opMatch:
			complete = true
		}
	}
	return complete
}

// intern returns the one state of the collected threads.
func (g *Grammar) intern(complete bool) *State {
	c := &g.cache
	h := uint64(14695981039346656037)
	add := func(v uint64) { h = (h ^ v) * 1099511628211 }
	for _, t := range c.threads {
		add(uint64(t.pc))
		if t.stack != nil {
			add(t.stack.id)
		}
	}
	if complete {
		add(1)
	}
	for _, s := range c.states[h] {
		if s.complete == complete && equal(s.threads, c.threads) {
			return s
		}
	}
	if len(c.kept) >= maxStates || len(c.frames) >= maxFrames {
		c.reset()
	}
	s := &State{threads: append([]thread(nil), c.threads...), complete: complete}
	c.states[h] = append(c.states[h], s)
	if len(c.states) > 4*maxStates {
		c.reset()
	}
	return s
}

func equal(a, b []thread) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

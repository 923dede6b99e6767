package grammar

import (
	"container/list"
	"sync"
)

// maxStored bounds the programs that a Store keeps, in instructions and edges: about 50 MB.
const maxStored = 500_000

// Store compiles constraints and keeps those that were used last. It is safe for concurrent use.
type Store struct {
	turn  sync.Mutex // of compiling: a few slow ones must not take all processors
	mu    sync.Mutex
	known map[Constraint]*list.Element
	used  list.List // of stored, the last used first
	size  int
}

type stored struct {
	c    Constraint
	g    *Grammar
	size int
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{known: map[Constraint]*list.Element{}} }

// Compile is Compile, or what it returned before.
func (s *Store) Compile(c Constraint) (*Grammar, error) {
	if g := s.find(c); g != nil {
		return g, nil
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if g := s.find(c); g != nil { // somebody was faster
		return g, nil
	}
	g, err := Compile(c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[c] = s.used.PushFront(stored{c, g, g.size()})
	s.size += g.size()
	for s.size > maxStored && s.used.Len() > 1 {
		last := s.used.Remove(s.used.Back()).(stored)
		delete(s.known, last.c)
		s.size -= last.size
	}
	return g, nil
}

func (s *Store) find(c Constraint) *Grammar {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[c]
	if e == nil {
		return nil
	}
	s.used.MoveToFront(e)
	return e.Value.(stored).g
}

// size counts instructions, edges and what a grammar may keep of states.
func (g *Grammar) size() int {
	n := 1000
	for i := range g.prog {
		n += 1 + len(g.prog[i].edges) + len(g.prog[i].targets)
	}
	return n
}

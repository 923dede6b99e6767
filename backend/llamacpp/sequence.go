package llamacpp

import (
	"fmt"
	"slices"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// sequence is one session's rows and its sampler, whose log holds the tokens of the rows.
type sequence struct {
	id       llama.SeqId
	rows     int // rows held; with a tree, those before it
	pending  int // rows of the pass that runs
	sampler  *speculative.Sampler
	tree     *tree         // the last segment when it was a tree
	branches []llama.SeqId // of the tree's leaves but the first, which has id
	version  uint64        // raised by every segment
}

// held is the number of KV rows that the sequence takes.
func (s *sequence) held() int {
	if s.tree != nil {
		return s.rows + len(s.tree.tokens)
	}
	return s.rows
}

// tree is a segment in which several continuations share rows. llama.cpp marks a row with the ids of
// the sequences that see it: every leaf is one, and a row is seen by the leaves below it.
type tree struct {
	tokens  []backend.Token
	parents []int32
	depth   []int32 // 0: follows the row before the segment
	leaves  []int32
}

func newTree(tokens []backend.Token, parents []int32) (*tree, error) {
	t := &tree{tokens: slices.Clone(tokens), parents: slices.Clone(parents), depth: make([]int32, len(parents))}
	inner := make([]bool, len(parents))
	for i, p := range parents {
		if p < -1 || int(p) >= i {
			return nil, fmt.Errorf("row %d hangs to row %d", i, p)
		}
		if p >= 0 {
			t.depth[i] = t.depth[p] + 1
			inner[p] = true
		}
	}
	for i, is := range inner {
		if !is {
			t.leaves = append(t.leaves, int32(i))
		}
	}
	return t, nil
}

func (t *tree) height() int { return int(slices.Max(t.depth)) + 1 }

// path returns the rows from the root to row i.
func (t *tree) path(i int32) []int32 {
	p := make([]int32, t.depth[i]+1)
	for j := i; j >= 0; j = t.parents[j] {
		p[t.depth[j]] = j
	}
	return p
}

// below reports whether row j is row i or descends from it.
func (t *tree) below(j, i int32) bool {
	for ; j > i; j = t.parents[j] {
	}
	return j == i
}

// seenBy returns the ids of the leaves below row i.
func (t *tree) seenBy(s *sequence, i int32) []llama.SeqId {
	var ids []llama.SeqId
	for n, l := range t.leaves {
		if t.below(l, i) {
			ids = append(ids, s.leaf(n))
		}
	}
	return ids
}

// leaf is the id of a tree's leaf.
func (s *sequence) leaf(n int) llama.SeqId {
	if n == 0 {
		return s.id
	}
	return s.branches[n-1]
}

// chain returns the rows that the tree's first rows add to the log when nobody says which to keep.
func (t *tree) chain() []int32 {
	var keep []int32
	for i, p := range t.parents {
		if int(p) != i-1 {
			break
		}
		keep = append(keep, int32(i))
	}
	return keep
}

// isPath reports whether keep is a path of the tree from its root.
func (t *tree) isPath(keep []int32) bool {
	last := int32(-1)
	for _, k := range keep {
		if k < 0 || int(k) >= len(t.parents) || t.parents[k] != last {
			return false
		}
		last = k
	}
	return true
}

// newSequence takes an id, of which there must be one.
func (e *Engine) newSequence(name backend.Sequence) *sequence {
	n := len(e.freeIDs) - 1
	s := &sequence{id: e.freeIDs[n]}
	e.freeIDs = e.freeIDs[:n]
	e.sequences[name] = s
	return s
}

// branch gives every leaf of a tree but the first an id that shares the rows before the tree.
func (e *Engine) branch(s *sequence, t *tree, start int) error {
	for range len(t.leaves) - 1 {
		n := len(e.freeBranches) - 1
		id := e.freeBranches[n]
		e.freeBranches = e.freeBranches[:n]
		s.branches = append(s.branches, id)
		if err := llama.MemorySeqCp(e.memory, s.id, id, 0, llama.Pos(start)); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the kept rows of the last tree part of the log and ends its branches.
func (e *Engine) settle(s *sequence, keep []int32) error {
	t := s.tree
	if t != nil {
		if err := e.adopt(s, keep); err != nil {
			return err
		}
		for _, k := range keep {
			s.sampler.Push(t.tokens[k])
		}
		e.used -= len(t.tokens) - len(keep)
		s.rows += len(keep)
		s.tree = nil
	}
	for _, id := range s.branches {
		if err := e.removeRows(id, 0); err != nil {
			return err
		}
		e.freeBranches = append(e.freeBranches, id)
	}
	s.branches = s.branches[:0]
	return nil
}

// adopt leaves the sequence's own id with the rows before the tree and those to keep.
func (e *Engine) adopt(s *sequence, keep []int32) error {
	if len(keep) == 0 {
		return e.removeRows(s.id, s.rows)
	}
	last := keep[len(keep)-1]
	n := slices.IndexFunc(s.tree.leaves, func(l int32) bool { return s.tree.below(l, last) })
	end := s.rows + len(keep)
	if n <= 0 {
		return e.removeRows(s.id, end)
	}
	if err := e.removeRows(s.id, s.rows); err != nil {
		return err
	}
	return llama.MemorySeqCp(e.memory, s.leaf(n), s.id, llama.Pos(s.rows), llama.Pos(end))
}

// truncate drops the rows from n on; there is no tree.
func (e *Engine) truncate(s *sequence, n int) error {
	if n >= s.rows {
		return nil
	}
	if err := e.removeRows(s.id, n); err != nil {
		return err
	}
	e.used -= s.rows - n
	s.rows = n
	return nil
}

// removeRows takes an id from the rows from a position on.
func (e *Engine) removeRows(id llama.SeqId, from int) error {
	ok, err := llama.MemorySeqRm(e.memory, id, llama.Pos(from), -1)
	if err == nil && !ok {
		err = errRollback
	}
	return err
}

// drop forgets a sequence.
func (e *Engine) drop(name backend.Sequence) {
	s := e.sequences[name]
	if s == nil {
		return
	}
	for _, id := range append(s.branches, s.id) {
		_ = e.removeRows(id, 0) // of a whole sequence it never fails
	}
	e.used -= s.held() + s.pending
	e.freeBranches = append(e.freeBranches, s.branches...)
	e.freeIDs = append(e.freeIDs, s.id)
	delete(e.sequences, name)
}

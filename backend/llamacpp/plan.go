package llamacpp

import (
	"fmt"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// task is one segment on its way through a pass.
type task struct {
	backend.Segment
	seq      *sequence
	tree     *tree                // nil: a chain
	fresh    bool                 // the sequence did not exist before
	sampler  *speculative.Sampler // a new one for the sequence, nil: it keeps its own
	choices  []speculative.Choice
	logprobs []speculative.Logprobs
	broken   bool // the model gave no numbers
}

// row is one token on its way through a pass.
type row struct {
	task   *task
	index  int // in the task's tokens
	token  backend.Token
	pos    int
	ids    []llama.SeqId // that see it
	logits bool
}

// prepare checks a segment and makes its sequence ready for it. After an error the sequence is
// what it was before.
func (e *Engine) prepare(s backend.Segment) (*task, error) {
	t := &task{Segment: s, seq: e.sequences[s.Sequence]}
	if err := e.check(t); err != nil {
		return nil, err
	}
	keep, err := t.kept()
	if err != nil {
		return nil, err
	}
	held := 0
	if t.seq != nil {
		held = t.seq.rows + len(keep)
	}
	if s.Start > held {
		return nil, fmt.Errorf("%w: it holds %d rows, the segment starts at %d", backend.ErrSequenceLost, held, s.Start)
	}
	if err := e.room(t); err != nil {
		return nil, err
	}
	if err := e.admit(t, keep); err != nil {
		e.drop(s.Sequence)
		return nil, fmt.Errorf("%w: %w", backend.ErrSequenceLost, err)
	}
	return t, nil
}

// check looks at what does not depend on the rows held.
func (e *Engine) check(t *task) error {
	switch {
	case t.Start < 0:
		return fmt.Errorf("%w: start %d", backend.ErrInvalid, t.Start)
	case len(t.Tokens) == 0:
		return fmt.Errorf("%w: no tokens", backend.ErrInvalid)
	case t.From < 0 || t.From > len(t.Tokens):
		return fmt.Errorf("%w: from %d of %d tokens", backend.ErrInvalid, t.From, len(t.Tokens))
	case t.Setup == nil && t.Start == 0:
		return fmt.Errorf("%w: a sequence that starts at 0 needs its sampling setup", backend.ErrInvalid)
	case t.Parents != nil && len(t.Parents) != len(t.Tokens):
		return fmt.Errorf("%w: %d parents for %d tokens", backend.ErrInvalid, len(t.Parents), len(t.Tokens))
	}
	for _, k := range t.Tokens {
		if k < 0 || int(k) >= e.vocab {
			return fmt.Errorf("%w: token %d, the vocabulary has %d", backend.ErrInvalid, k, e.vocab)
		}
	}
	if t.Setup != nil {
		var err error
		if t.sampler, err = e.samplers.New(t.Setup); err != nil {
			return err
		}
	}
	length := len(t.Tokens)
	if t.Parents != nil {
		var err error
		if t.tree, err = newTree(t.Tokens, t.Parents); err != nil {
			return fmt.Errorf("%w: %w", backend.ErrInvalid, err)
		}
		length = t.tree.height()
	}
	if t.Start > e.info.ContextLength-length {
		return fmt.Errorf("%w: %d rows from %d on, it ends at %d", backend.ErrContextFull, length, t.Start, e.info.ContextLength)
	}
	return nil
}

// kept returns the rows of the sequence's last tree that are now part of its log.
func (t *task) kept() ([]int32, error) {
	switch {
	case t.Start == 0 || t.seq == nil:
		return nil, nil
	case t.seq.tree == nil && len(t.Keep) > 0:
		return nil, fmt.Errorf("%w: there is no tree to keep rows of", backend.ErrSequenceLost)
	case t.seq.tree == nil:
		return nil, nil
	case t.Keep == nil:
		return t.seq.tree.chain(), nil
	case !t.seq.tree.isPath(t.Keep):
		return nil, fmt.Errorf("%w: the rows to keep are no path of the last tree", backend.ErrInvalid)
	}
	return t.Keep, nil
}

// room checks that there are KV rows and sequence ids for the segment.
func (e *Engine) room(t *task) error {
	need, branches := t.Start+len(t.Tokens), 0
	if t.seq != nil {
		need -= t.seq.held()
		branches -= len(t.seq.branches)
	} else if len(e.freeIDs) == 0 {
		return fmt.Errorf("%w: %d sequences hold rows, more are not allowed", backend.ErrNoMemory, len(e.sequences))
	}
	if free := e.rows - e.used; need > free {
		return fmt.Errorf("%w: %d rows wanted, %d free", backend.ErrNoMemory, need, free)
	}
	if t.tree != nil {
		branches += len(t.tree.leaves) - 1
	}
	if branches > len(e.freeBranches) {
		return fmt.Errorf("%w: %d more branches wanted, %d free", backend.ErrNoMemory, branches, len(e.freeBranches))
	}
	return nil
}

// admit brings the sequence to the segment's start. From here on it holds the rows before Start,
// until finish adds the new ones. After an error the sequence is of no use.
func (e *Engine) admit(t *task, keep []int32) error {
	if t.seq == nil {
		t.seq, t.fresh = e.newSequence(t.Sequence), true
	}
	s := t.seq
	if err := e.settle(s, keep); err != nil {
		return err
	}
	if err := e.truncate(s, t.Start); err != nil {
		return err
	}
	if t.Setup != nil {
		var log []backend.Token
		if s.sampler != nil {
			log = s.sampler.Log()
		}
		s.sampler = t.sampler
		for _, k := range log[:t.Start] {
			s.sampler.Push(k)
		}
	}
	s.sampler.Truncate(t.Start)
	s.version++
	if t.tree != nil {
		if err := e.branch(s, t.tree, t.Start); err != nil {
			return err
		}
	}
	s.pending = len(t.Tokens)
	e.used += s.pending
	t.choices = make([]speculative.Choice, 0, len(t.Tokens)-t.From)
	return nil
}

// appendRows lists the rows of a task.
func (t *task) appendRows(rows []row) []row {
	chain := []llama.SeqId{t.seq.id}
	for i, k := range t.Tokens {
		r := row{task: t, index: i, token: k, pos: t.Start + i, ids: chain, logits: i >= t.From}
		if t.tree != nil {
			r.pos, r.ids = t.Start+int(t.tree.depth[i]), t.tree.seenBy(t.seq, int32(i))
		}
		rows = append(rows, r)
	}
	return rows
}

// choose makes the choice after a row; rows come in order. logits is nil when none is wanted.
func (t *task) choose(r *row, logits []float32) {
	s := t.seq.sampler
	if t.tree == nil {
		s.Push(r.token)
	} else if logits != nil {
		s.Truncate(t.Start)
		for _, i := range t.tree.path(int32(r.index)) {
			s.Push(t.Tokens[i])
		}
	}
	switch {
	case logits == nil:
	case !speculative.Finite(logits):
		t.broken = true
	default:
		c, lp := backend.Judge(s, &t.Segment, r.index, logits)
		if t.choices = append(t.choices, c); lp != nil {
			t.logprobs = append(t.logprobs, *lp)
		}
	}
}

// finish makes the new rows part of the sequence.
func (t *task) finish() {
	t.seq.pending = 0
	if t.tree == nil {
		t.seq.rows = t.Start + len(t.Tokens)
		return
	}
	t.seq.sampler.Truncate(t.Start)
	t.seq.tree = t.tree
}

// abandon forgets the new rows of a pass that did not end.
func (e *Engine) abandon(t *task) {
	s := t.seq
	e.used -= s.pending
	s.pending = 0
	if t.fresh || e.settle(s, nil) != nil || e.removeRows(s.id, t.Start) != nil {
		e.drop(t.Sequence)
		return
	}
	s.sampler.Truncate(t.Start)
}

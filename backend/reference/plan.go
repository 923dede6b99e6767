package reference

import (
	"fmt"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// task is one segment on its way through a pass.
type task struct {
	backend.Segment
	seq      *sequence
	depth    []int32              // of a tree's rows below the row before Start; nil: a chain
	fresh    bool                 // the sequence did not exist before
	sampler  *speculative.Sampler // a new one for the sequence, nil: it keeps its own
	choices  []speculative.Choice
	logprobs []speculative.Logprobs
	broken   bool // the model gave no numbers
}

// row is one token on its way through a pass.
type row struct {
	task   *task
	index  int     // in the task's tokens
	pos    int     // in the log
	slot   int     // in the sequence's pages; pos unless the segment is a tree
	prefix int     // slots below it are seen
	path   []int32 // and these, in the order of their positions
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
	e.admit(t, keep)
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
		if k < 0 || int(k) >= e.c.vocab {
			return fmt.Errorf("%w: token %d, the vocabulary has %d", backend.ErrInvalid, k, e.c.vocab)
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
		length = 0
		t.depth = make([]int32, len(t.Parents))
		for i, p := range t.Parents {
			if p < -1 || int(p) >= i {
				return fmt.Errorf("%w: row %d hangs to row %d", backend.ErrInvalid, i, p)
			}
			if p >= 0 {
				t.depth[i] = t.depth[p] + 1
			}
			length = max(length, int(t.depth[i])+1)
		}
	}
	if t.Start > e.c.context-length {
		return fmt.Errorf("%w: %d rows from %d on, it ends at %d", backend.ErrContextFull, length, t.Start, e.c.context)
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

// room checks that there is KV memory for the segment.
func (e *Engine) room(t *task) error {
	need, have := pagesFor(t.Start+len(t.Tokens)), 0
	if t.seq != nil {
		have = len(t.seq.pages)
	} else if len(e.sequences) >= e.maxSequences {
		return fmt.Errorf("%w: %d sequences hold rows, more are not allowed", backend.ErrNoMemory, len(e.sequences))
	}
	if free := e.kv.available(); need-have > free {
		return fmt.Errorf("%w: %d rows wanted, %d free", backend.ErrNoMemory, (need-have)*pageRows, free*pageRows)
	}
	return nil
}

// admit brings the sequence to the segment's start and makes room for its rows. From here on it
// holds the rows before Start, until finish adds the new ones.
func (e *Engine) admit(t *task, keep []int32) {
	if t.seq == nil {
		t.seq, t.fresh = &sequence{}, true
		e.sequences[t.Sequence] = t.seq
	}
	s := t.seq
	if len(keep) > 0 {
		s.settle(&e.c, keep)
	}
	s.tree, s.rows = nil, t.Start
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
	e.kv.resize(s, t.Start+len(t.Tokens))
	t.choices = make([]speculative.Choice, 0, len(t.Tokens)-t.From)
}

// appendRows lists the rows of a task.
func (t *task) appendRows(rows []row) []row {
	for i := range t.Tokens {
		r := row{task: t, index: i, pos: t.Start + i, slot: t.Start + i, prefix: t.Start + i + 1}
		if t.depth != nil {
			d := t.depth[i]
			r.pos, r.prefix, r.path = t.Start+int(d), t.Start, make([]int32, d+1)
			for j := int32(i); j >= 0; j = t.Parents[j] {
				r.path[d] = int32(t.Start) + j
				d--
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// choose makes the choice after a row; rows come in order. logits is nil when none is wanted.
func (t *task) choose(r *row, logits []float32) {
	s := t.seq.sampler
	if t.depth == nil {
		s.Push(t.Tokens[r.index])
	} else if logits != nil {
		s.Truncate(t.Start)
		for _, slot := range r.path {
			s.Push(t.Tokens[int(slot)-t.Start])
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
	if t.depth == nil {
		t.seq.rows = t.Start + len(t.Tokens)
		return
	}
	t.seq.sampler.Truncate(t.Start)
	t.seq.tree = &tree{tokens: append([]backend.Token(nil), t.Tokens...), parents: append([]int32(nil), t.Parents...)}
}

// abandon forgets the new rows of a pass that did not end.
func (e *Engine) abandon(t *task) {
	if t.fresh {
		e.drop(t.Sequence)
		return
	}
	t.seq.sampler.Truncate(t.Start)
	e.kv.resize(t.seq, t.Start)
}

// drop forgets a sequence.
func (e *Engine) drop(id backend.Sequence) {
	if s := e.sequences[id]; s != nil {
		e.kv.resize(s, 0)
		delete(e.sequences, id)
	}
}

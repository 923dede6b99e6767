package mock

import (
	"fmt"
	"slices"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// run is one segment; the mutex is held.
func (e *Engine) run(seg *backend.Segment) ([]speculative.Choice, error) {
	depth, err := e.check(seg)
	if err != nil {
		return nil, err
	}
	s := e.seqs[seg.Sequence]
	switch {
	case s == nil && seg.Start > 0:
		return nil, backend.ErrSequenceLost
	case seg.Start+depth > e.o.context:
		return nil, fmt.Errorf("%w: %d tokens are all", backend.ErrContextFull, e.o.context)
	case s == nil && len(e.seqs) >= e.o.sequences:
		return nil, fmt.Errorf("%w: %d sequences are all", backend.ErrNoMemory, e.o.sequences)
	case s == nil:
		s = &sequence{}
		e.seqs[seg.Sequence] = s
	}
	var allowed *constraint
	if seg.Setup != nil {
		if allowed, err = e.constrain(seg); err != nil {
			if len(s.rows) == 0 {
				delete(e.seqs, seg.Sequence)
			}
			return nil, err
		}
	}
	if err := e.rollBack(s, seg); err != nil {
		return nil, err
	}
	if e.rows+len(seg.Tokens) > e.o.kvTokens {
		if len(s.rows) == 0 {
			delete(e.seqs, seg.Sequence)
		}
		return nil, fmt.Errorf("%w: %d of %d rows are held", backend.ErrNoMemory, e.rows, e.o.kvTokens)
	}
	if seg.Setup != nil {
		s.set(e.o.seed, seg.Setup)
		s.allowed = allowed
	}
	return e.append(s, seg), nil
}

// check refuses what would index out of range; the server glue has checked it for plugins already.
// It returns the length of the longest path.
func (e *Engine) check(seg *backend.Segment) (int, error) {
	n := len(seg.Tokens)
	if n == 0 || seg.Start < 0 || seg.From < 0 || seg.From > n || (seg.Start == 0 && seg.Setup == nil) {
		return 0, fmt.Errorf("%w: no tokens, no setup or out of range", backend.ErrInvalid)
	}
	for _, t := range seg.Tokens {
		if t < 0 || int(t) >= e.o.vocab {
			return 0, fmt.Errorf("%w: token %d is beyond the vocabulary of %d", backend.ErrInvalid, t, e.o.vocab)
		}
	}
	if seg.Parents == nil {
		return n, nil
	}
	if !e.o.trees || len(seg.Parents) != n {
		return 0, fmt.Errorf("%w: no trees here, or %d parents for %d tokens", backend.ErrInvalid, len(seg.Parents), n)
	}
	depth, longest := make([]int, n), 0
	for i, p := range seg.Parents {
		if p < -1 || int(p) >= i {
			return 0, fmt.Errorf("%w: the parent of token %d is %d", backend.ErrInvalid, i, p)
		}
		depth[i] = 1
		if p >= 0 {
			depth[i] += depth[p]
		}
		longest = max(longest, depth[i])
	}
	return longest, nil
}

// rollBack makes the log of what the last segment left and cuts it at the segment's start. It refuses
// rows that are no path of the last tree: a host that counts on them has lost its way.
func (e *Engine) rollBack(s *sequence, seg *backend.Segment) error {
	if seg.Start <= s.base {
		e.cut(s, seg.Start)
		return nil
	}
	kept, parent := s.base, int32(-1)
	for ; kept < seg.Start; kept++ {
		i := int32(kept - s.base)
		if seg.Keep != nil {
			if int(i) >= len(seg.Keep) {
				break
			}
			i = seg.Keep[i]
		}
		if i < 0 || s.base+int(i) >= len(s.rows) {
			break
		}
		if s.parentOf(i) != parent {
			e.cut(s, kept)
			return fmt.Errorf("%w: the rows to keep are not one path of the last segment", backend.ErrInvalid)
		}
		// A path ascends, so this never overwrites a row that is still to be read.
		s.rows[kept] = s.rows[s.base+int(i)]
		s.allowed.move(kept, s.base+int(i))
		parent = i
	}
	if kept < seg.Start {
		e.cut(s, kept)
		return fmt.Errorf("%w: %d rows are held, the segment starts at %d", backend.ErrSequenceLost, kept, seg.Start)
	}
	e.cut(s, kept)
	return nil
}

func (s *sequence) parentOf(i int32) int32 {
	if s.parents == nil {
		return i - 1
	}
	return s.parents[i]
}

func (e *Engine) cut(s *sequence, n int) {
	e.rows -= len(s.rows) - n
	s.rows = s.rows[:n]
	s.allowed.cut(n)
	s.base, s.parents = n, nil
}

func (s *sequence) set(seed uint64, setup *backend.Setup) {
	s.promptLength, s.rule, s.drafts = setup.PromptLength, setup.Rule, setup.Drafts
	s.key = mix(seed + 0x9E3779B97F4A7C15)
	if p := setup.Params; p.Temperature != 0 {
		s.key = mix(s.key ^ mix(p.Seed) + uint64(p.Choice))
	}
}

// append runs the tokens; all has been checked.
func (e *Engine) append(s *sequence, seg *backend.Segment) []speculative.Choice {
	base := len(s.rows)
	s.base, s.parents = base, slices.Clone(seg.Parents)
	e.rows += len(seg.Tokens)
	var out []speculative.Choice
	if n := len(seg.Tokens) - seg.From; n > 0 {
		out = make([]speculative.Choice, 0, n)
	}
	var depth []int
	if seg.Parents != nil {
		depth = make([]int, len(seg.Tokens))
	}
	for i, t := range seg.Tokens {
		from, position := base+i-1, base+i+1 // the choice after this row is for position
		if seg.Parents != nil {
			p := seg.Parents[i]
			from, depth[i] = base-1, 1
			if p >= 0 {
				from, depth[i] = base+int(p), depth[p]+1
			}
			position = base + depth[i]
		}
		state := uint32(0)
		if from >= 0 {
			state = s.rows[from]
		}
		state = extend(state, t)
		s.rows = append(s.rows, state)
		s.allowed.push(from, position-1 >= s.promptLength, t)
		if i >= seg.From {
			c := s.judge(e.choose(s, state, position), state, backend.Following(seg, i))
			out = append(out, s.allowed.apply(c, len(s.rows)-1, e.o.vocab))
		}
	}
	return out
}

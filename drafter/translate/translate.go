// Package translate lets a draft propose for a target with another vocabulary: it drafts text with its
// own tokens, and what that text is in the target's tokens is proposed (string-level match: Timor et
// al., "Accelerating LLM Inference with Lossless Speculative Decoding Algorithms for Heterogeneous
// Vocabularies", ICML 2025). The target decides as ever, so nothing is lost but time.
package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Token is an id in one of the two vocabularies.
type Token = backend.Token

// Model presents a draft in the target's vocabulary. The draft's context does not bound the log: the
// draft then sees the text's end only.
type Model struct {
	inner backend.Model
	info  backend.Info
	draft *tokenizer.Tokenizer
	to    *tokenizer.Tokenizer

	w     *words
	habit *habit
	uses  struct{ proposed, drafted atomic.Int64 }

	mu   sync.Mutex
	seqs map[backend.Sequence]*sequence
}

// Uses counts what translating took.
type Uses struct {
	Proposed int // tokens of the target
	Drafted  int // tokens of the draft
	Held     int // drafted on to see whether the token stays
	Changed  int // and it did not
}

var _ backend.Model = (*Model)(nil)

// logLimit stands for a context without bound.
const logLimit = 1 << 24

// New makes a Model of a draft, whose tokenizer is given, for a target's tokenizer.
func New(inner backend.Model, draft, target *tokenizer.Tokenizer) *Model {
	m := &Model{inner: inner, info: inner.Info(), draft: draft, to: target, w: newWords(draft, target), habit: newHabit(target.Size()), seqs: map[backend.Sequence]*sequence{}}
	m.info.Vocabulary, m.info.VocabularySize, m.info.EndTokens = target.Fingerprint(), target.Size(), target.EndTokens()
	m.info.ContextLength, m.info.Trees = logLimit, false
	return m
}

// Info describes the draft, with the target's vocabulary.
func (m *Model) Info() backend.Info {
	i := m.info
	i.EndTokens = slices.Clone(i.EndTokens)
	return i
}

// Uses returns the counts since the beginning.
func (m *Model) Uses() Uses {
	u := &m.uses
	held, changed := m.habit.total()
	return Uses{int(u.proposed.Load()), int(u.drafted.Load()), held, changed}
}

// Forward implements backend.Model.
func (m *Model) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	out := make([]backend.Result, len(batch))
	for i := range batch {
		out[i].Choices, out[i].Err = m.segment(ctx, &batch[i])
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(out[i].Err, backend.ErrUnavailable) {
			return nil, out[i].Err
		}
	}
	return out, nil
}

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", backend.ErrInvalid, fmt.Sprintf(format, a...))
}

// sequence returns one by its name, an empty one when there is none, which is kept when it begins.
func (m *Model) sequence(id backend.Sequence, begin bool) *sequence {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.seqs[id]
	if s == nil {
		s = &sequence{w: m.w}
		if begin {
			m.seqs[id] = s
		}
	}
	return s
}

// segment runs one segment: the choices are the target's tokens that the draft's text begins with.
func (m *Model) segment(ctx context.Context, seg *backend.Segment) ([]speculative.Choice, error) {
	s := m.sequence(seg.Sequence, seg.Start == 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case seg.Parents != nil:
		return nil, invalid("a translated draft runs chains only")
	case len(seg.Tokens) == 0 || seg.Start < 0 || seg.From < 0 || seg.From > len(seg.Tokens) || seg.Start == 0 && seg.Setup == nil:
		return nil, invalid("no tokens, no setup or out of range")
	case seg.Start > len(s.log):
		return nil, backend.ErrSequenceLost
	}
	for _, k := range seg.Tokens {
		if k < 0 || int(k) >= m.info.VocabularySize {
			return nil, invalid("token %d is beyond the vocabulary of %d", k, m.info.VocabularySize)
		}
	}
	if seg.Setup != nil {
		s.setup = *seg.Setup
		s.sampler = speculative.NewSampler(s.setup.Params, s.setup.PromptLength)
	}
	s.tell(seg.Start, seg.Tokens[:seg.From])
	if seg.From == len(seg.Tokens) {
		s.align()
		return nil, m.catchUp(ctx, seg.Sequence, s, 0)
	}
	var out []speculative.Choice
	for i := seg.From; i < len(seg.Tokens); i++ {
		s.tell(seg.Start+i, seg.Tokens[i:i+1])
		s.align()
		c, err := m.next(ctx, seg.Sequence, s)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// Tokens of the draft that one of the target takes at most.
const longestToken = 12

// next is the token of the target that the draft says next.
func (m *Model) next(ctx context.Context, id backend.Sequence, s *sequence) (speculative.Choice, error) {
	before := nothing
	for range longestToken {
		if s.strays() {
			break // not what the rest of the character is
		}
		p := s.propose()
		if before >= 0 && len(p.tokens) > 0 {
			m.habit.learn(before, p.tokens[0] == before)
			before = nothing
		}
		if p.settled || len(p.tokens) > 0 && m.habit.stays(p.tokens[0]) {
			m.uses.proposed.Add(1)
			return s.choice(p), nil
		}
		if len(p.tokens) > 0 {
			before = p.tokens[0]
		}
		ok, err := m.write(ctx, id, s)
		if err != nil {
			return speculative.Choice{}, err
		}
		if !ok {
			break
		}
	}
	m.uses.proposed.Add(1)
	if p := s.propose(); len(p.tokens) > 0 && !s.strays() {
		return s.choice(p), nil
	}
	s.retract()
	return speculative.Choice{Second: nothing}, nil // nothing to propose
}

// write lets the draft choose one token more; false when it has none to say.
func (m *Model) write(ctx context.Context, id backend.Sequence, s *sequence) (bool, error) {
	if len(s.d) == 0 {
		return false, nil // neither text nor a token that begins one
	}
	m.slide(s)
	r, err := m.last(ctx, id, s)
	if err != nil {
		return false, err
	}
	e, ok := m.pick(s, &r)
	if !ok {
		return false, nil
	}
	had := len(s.text)
	s.text = m.w.draftSymbols(s.text, e.token, begins(s.text))
	if len(s.text) == had {
		return false, nil
	}
	e.end = len(s.text)
	s.d = append(s.d, e)
	m.uses.drafted.Add(1)
	return true, nil
}

// slide forgets the beginning of a log that the draft's context does not hold.
func (m *Model) slide(s *sequence) {
	room := m.inner.Info().ContextLength
	if len(s.d) < room {
		return
	}
	cut := len(s.d) - room/2
	s.from = s.d[cut-1].end
	d := make([]entry, 0, room)
	if bos, ok := m.draft.BOS(); ok && m.draft.AddBOS() {
		d = append(d, entry{token: bos, end: s.from, second: nothing})
	}
	s.d = append(d, s.d[cut:]...)
}

// Rows of one pass while the draft catches up.
const chunk = 64

// catchUp runs the draft's log but for the last rest tokens.
func (m *Model) catchUp(ctx context.Context, id backend.Sequence, s *sequence, rest int) error {
	m.slide(s)
	tokens := make([]Token, len(s.d))
	for i, e := range s.d {
		tokens[i] = e.token
	}
	n := 0
	for n < len(tokens)-rest && n < len(s.held) && tokens[n] == s.held[n] {
		n++
	}
	for n < len(tokens)-rest {
		to := min(n+chunk, len(tokens)-rest)
		if _, err := m.forward(ctx, id, s, tokens, n, to, 0); err != nil {
			return err
		}
		n = to
	}
	return nil
}

// last is what the draft says after its log.
func (m *Model) last(ctx context.Context, id backend.Sequence, s *sequence) (backend.Result, error) {
	const batch = 8 // rows that may as well go with the last one
	if err := m.catchUp(ctx, id, s, min(batch, len(s.d))); err != nil {
		return backend.Result{}, err
	}
	tokens := make([]Token, len(s.d))
	for i, e := range s.d {
		tokens[i] = e.token
	}
	n := 0
	for n < len(tokens)-1 && n < len(s.held) && tokens[n] == s.held[n] {
		n++
	}
	return m.forward(ctx, id, s, tokens, n, len(tokens), speculative.MaxLogprobs+1)
}

// forward runs tokens[start:end]; with logprobs the choice after the last one is wanted.
func (m *Model) forward(ctx context.Context, id backend.Sequence, s *sequence, tokens []Token, start, end, logprobs int) (backend.Result, error) {
	seg := backend.Segment{Sequence: id, Start: start, Tokens: tokens[start:end], From: end - start, Logprobs: logprobs}
	if logprobs > 0 {
		seg.From--
	}
	if start == 0 { // greedy: choices are made here
		seg.Setup = &backend.Setup{PromptLength: end, Request: s.setup.Request}
	}
	s.held = append(s.held[:start], tokens[start:end]...)
	r, err := m.inner.Forward(ctx, []backend.Segment{seg})
	if err == nil && len(r) != 1 {
		err = fmt.Errorf("the draft gave %d results for one segment", len(r))
	}
	if err == nil {
		err = r[0].Err
	}
	if err == nil && logprobs > 0 && len(r[0].Choices) != 1 {
		err = fmt.Errorf("the draft gave %d choices for one row", len(r[0].Choices))
	}
	if err != nil {
		s.held = nil
		return backend.Result{}, err
	}
	return r[0], nil
}

// Draft implements backend.Model.
func (m *Model) Draft(ctx context.Context, req backend.DraftRequest, emit func(speculative.Choice) bool) error {
	step := func(ctx context.Context, s backend.Segment, _ uint64) (speculative.Choice, uint64, error) {
		r, err := m.Forward(ctx, []backend.Segment{s})
		if err == nil {
			err = r[0].Err
		}
		if err != nil || len(r[0].Choices) == 0 {
			return speculative.Choice{}, 0, err
		}
		return r[0].Choices[0], 0, nil
	}
	return backend.DraftSteps(ctx, req, m.info, step, emit)
}

// Release implements backend.Model.
func (m *Model) Release(ctx context.Context, sequences []backend.Sequence) error {
	m.mu.Lock()
	for _, id := range sequences {
		delete(m.seqs, id)
	}
	m.mu.Unlock()
	return m.inner.Release(ctx, sequences)
}

// Wait waits until the draft's process is back, if it has one.
func (m *Model) Wait(ctx context.Context) error {
	if w, ok := m.inner.(interface{ Wait(context.Context) error }); ok {
		return w.Wait(ctx)
	}
	return nil
}

// Running says whether the draft's process is there.
func (m *Model) Running() bool {
	r, ok := m.inner.(interface{ Running() bool })
	return !ok || r.Running()
}

package edge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// toy is a strict model without weights: the token after a log is a hash of the seed and of the rows
// that it really holds, so a wrong rollback, a lost row or a wrong setup changes the output. A toy
// with misses is a draft of the toy without: now and then its choice is another one.
type toy struct {
	info   backend.Info
	misses uint64 // of 100 choices
	step   time.Duration

	mu     sync.Mutex
	seqs   map[backend.Sequence]*toySeq
	down   chan struct{} // not nil: the process is gone; closed when it is back
	broken error         // every call fails with it
	calls  int
	rows   int
	most   int     // sequences held at once
	lost   int     // sequences to lose at the next call
	drafts int     // calls of Draft
	script []Token // what it answers, if set
	echo   bool    // it answers what the prompt says
}

type toySeq struct {
	setup backend.Setup
	rows  []Token
}

func newToy(misses uint64) *toy {
	return &toy{misses: misses, seqs: map[backend.Sequence]*toySeq{}, info: backend.Info{Name: "toy", Engine: "toy",
		ContextLength: 512, VocabularySize: 300, Vocabulary: "toy", EndTokens: []Token{0}, Numerics: "toy/1", Sequences: 64, KVTokens: 1 << 20}}
}

func toyHash(seed uint64, log []Token) uint64 {
	h := seed*0x9E3779B97F4A7C15 + 1
	for _, t := range log {
		h = (h ^ uint64(t)) * 0x100000001B3
		h ^= h >> 29
	}
	return h
}

// oracle is target-only decoding.
func (m *toy) oracle(p speculative.Params, prompt []Token, maxLength int) []Token {
	log := slices.Clone(prompt)
	for len(log) < min(maxLength, m.info.ContextLength) {
		t := m.next(backend.Setup{Params: p, PromptLength: len(prompt)}, log).Token
		if log = append(log, t); slices.Contains(m.info.EndTokens, t) {
			break
		}
	}
	return log[len(prompt):]
}

func (m *toy) next(s backend.Setup, log []Token) speculative.Choice {
	if i := len(log) - s.PromptLength; m.echo && i >= 0 {
		return speculative.Choice{Token: log[i%s.PromptLength], Confidence: 0.9, Second: -1}
	} else if m.script != nil && i >= 0 {
		if i < len(m.script) {
			return speculative.Choice{Token: m.script[i], Confidence: 0.9, Second: -1}
		}
		return speculative.Choice{Token: m.info.EndTokens[0], Confidence: 0.9, Second: -1}
	}
	h := toyHash(s.Params.Seed+uint64(s.PromptLength)<<32, log)
	size := uint64(m.info.VocabularySize)
	c := speculative.Choice{Token: Token(1 + h%(size-1)), Confidence: 0.9, Second: -1}
	if h%997 == 0 {
		c.Token = 0
	}
	if (h>>20)%100 < m.misses {
		c.Second, c.Token, c.Confidence = c.Token, Token(1+(h+7)%(size-1)), 0.6
	}
	return c
}

func (m *toy) Info() backend.Info { return m.info }

func (m *toy) Release(_ context.Context, ids []backend.Sequence) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.seqs, id)
	}
	return nil
}

func (m *toy) held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seqs)
}

// Wait, Running and Generation make the toy a process that dies and comes back.
func (m *toy) Wait(ctx context.Context) error {
	m.mu.Lock()
	down := m.down
	m.mu.Unlock()
	if down == nil {
		return nil
	}
	select {
	case <-down:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *toy) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.seqs)
	if m.down == nil {
		m.down = make(chan struct{})
	}
}

func (m *toy) revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		close(m.down)
		m.down = nil
	}
}

func (m *toy) fail() error {
	switch {
	case m.down != nil:
		return backend.ErrUnavailable
	case m.broken != nil:
		return m.broken
	case m.lost > 0:
		m.lost--
		clear(m.seqs)
	}
	return nil
}

func (m *toy) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	if m.step > 0 {
		time.Sleep(m.step)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m.calls++
	if err := m.fail(); err != nil {
		return nil, err
	}
	out := make([]backend.Result, len(batch))
	for i, s := range batch {
		out[i].Choices, out[i].Err = m.segment(s)
	}
	m.most = max(m.most, len(m.seqs))
	return out, nil
}

func (m *toy) segment(seg backend.Segment) ([]speculative.Choice, error) {
	s := m.seqs[seg.Sequence]
	switch {
	case len(seg.Tokens) == 0 || seg.From > len(seg.Tokens) || seg.Parents != nil || (seg.Start == 0 && seg.Setup == nil):
		return nil, backend.ErrInvalid
	case seg.Start+len(seg.Tokens) > m.info.ContextLength:
		return nil, backend.ErrContextFull
	case s == nil && seg.Start > 0, s != nil && seg.Start > len(s.rows):
		return nil, backend.ErrSequenceLost
	case s == nil && len(m.seqs) >= m.info.Sequences, m.total(seg.Sequence)+seg.Start+len(seg.Tokens) > m.info.KVTokens:
		return nil, backend.ErrNoMemory
	}
	if s == nil {
		s = &toySeq{}
		m.seqs[seg.Sequence] = s
	}
	if seg.Setup != nil {
		s.setup = *seg.Setup
	}
	s.rows = s.rows[:seg.Start]
	var out []speculative.Choice
	for i, t := range seg.Tokens {
		if t < 0 || int(t) >= m.info.VocabularySize {
			return nil, backend.ErrInvalid
		}
		m.rows++
		if s.rows = append(s.rows, t); i >= seg.From {
			out = append(out, m.next(s.setup, s.rows))
		}
	}
	return out, nil
}

// total counts the rows of all sequences but one.
func (m *toy) total(but backend.Sequence) int {
	n := 0
	for id, s := range m.seqs {
		if id != but {
			n += len(s.rows)
		}
	}
	return n
}

func (m *toy) Draft(ctx context.Context, r backend.DraftRequest, emit func(speculative.Choice) bool) error {
	m.mu.Lock()
	m.drafts++
	m.mu.Unlock()
	seg := r.Segment
	for n := 0; n < r.MaxTokens && ctx.Err() == nil; n++ {
		seg.From = len(seg.Tokens) - 1
		out, err := m.Forward(context.WithoutCancel(ctx), []backend.Segment{seg})
		switch {
		case err != nil:
			return err
		case errors.Is(out[0].Err, backend.ErrContextFull) && n > 0:
			return nil
		case out[0].Err != nil:
			return out[0].Err
		}
		c := out[0].Choices[0]
		if !emit(c) || slices.Contains(m.info.EndTokens, c.Token) {
			return nil
		}
		seg = backend.Segment{Sequence: seg.Sequence, Start: seg.Start + len(seg.Tokens), Tokens: []Token{c.Token}}
	}
	return nil
}

func setupOf(p speculative.Params, prompt []Token) backend.Setup {
	return backend.Setup{Params: p, PromptLength: len(prompt)}
}

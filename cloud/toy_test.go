package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// toy is a strict model without weights: the token after a log is a hash of the rows that it really
// holds, so a wrong rollback, a lost row or a mixed-up sequence changes the output.
type toy struct {
	info backend.Info

	mu       sync.Mutex
	seqs     map[backend.Sequence]*toySeq
	gen      uint64
	down     chan struct{}              // not nil: the process is gone; closed when it is back
	poison   func([]backend.Token) bool // a log that kills the process
	hook     func()                     // runs at the beginning of a Forward, without the lock
	forwards int
	step     time.Duration // constant
	most     int           // sequences held at once
}

type toySeq struct {
	setup   backend.Setup
	rows    []backend.Token
	at      int // where the last segment began
	tree    []backend.Token
	parents []int32
}

func newToy() *toy {
	return &toy{seqs: map[backend.Sequence]*toySeq{}, gen: 1, info: backend.Info{Name: "toy", Engine: "toy", ContextLength: 256,
		VocabularySize: 50, Vocabulary: "toy-50", EndTokens: []backend.Token{49}, Numerics: "toy/1", Sequences: 1000, KVTokens: 100000, Trees: true, Constraints: true}}
}

// toyNext is the oracle: what the model says after a log.
func toyNext(seed uint64, log []backend.Token) backend.Token {
	h := seed*0x9E3779B97F4A7C15 + 1
	for _, t := range log {
		h = (h ^ uint64(t)) * 0x100000001B3
		h ^= h >> 29
	}
	if h%499 == 0 {
		return 49
	}
	return backend.Token(h / 499 % 49)
}

// toyGenerate is target-only decoding.
func toyGenerate(seed uint64, prompt []backend.Token, maxLength int) []backend.Token {
	log := slices.Clone(prompt)
	for len(log) < maxLength {
		t := toyNext(seed, log)
		if log = append(log, t); t == 49 {
			break
		}
	}
	return log[len(prompt):]
}

// longSession returns the number of a session, n or later, that does not end before maxLength.
func longSession(n uint64, prompt, maxLength int) uint64 {
	for len(toyGenerate(n, promptOf(n, prompt), maxLength)) < maxLength-prompt || toyNext(n, promptOf(n, prompt)) == 49 {
		n++
	}
	return n
}

func (m *toy) Info() backend.Info { return m.info }

func (m *toy) Draft(context.Context, backend.DraftRequest, func(speculative.Choice) bool) error {
	return errors.ErrUnsupported
}

func (m *toy) Release(_ context.Context, ids []backend.Sequence) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.seqs, id)
	}
	return nil
}

func (m *toy) held() (sequences, rows int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seqs {
		rows += len(s.rows)
	}
	return len(m.seqs), rows
}

// Generation, Running and Wait make the toy a process that dies and comes back.
func (m *toy) Generation() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gen
}

func (m *toy) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down == nil
}

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
		m.gen++
		close(m.down)
		m.down = nil
	}
}

func (m *toy) setHook(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

func (m *toy) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		hook()
	}
	time.Sleep(m.step)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil || ctx.Err() != nil {
		return nil, backend.ErrUnavailable
	}
	m.forwards++
	seen := map[backend.Sequence]bool{}
	out := make([]backend.Result, len(batch))
	for i, seg := range batch {
		if seen[seg.Sequence] {
			return nil, fmt.Errorf("sequence %d is twice in a batch", seg.Sequence)
		}
		seen[seg.Sequence] = true
		c, err := m.segment(seg)
		if errors.Is(err, backend.ErrUnavailable) { // it crashed and restarted
			clear(m.seqs)
			m.gen++
			return nil, err
		}
		out[i] = backend.Result{Choices: c, Err: err}
	}
	m.most = max(m.most, len(m.seqs))
	return out, nil
}

func (m *toy) segment(seg backend.Segment) ([]speculative.Choice, error) {
	s := m.seqs[seg.Sequence]
	switch {
	case len(seg.Tokens) == 0 || seg.From > len(seg.Tokens) || (seg.Start == 0 && seg.Setup == nil):
		return nil, backend.ErrInvalid
	case seg.Start+len(seg.Tokens) > m.info.ContextLength:
		return nil, backend.ErrContextFull
	case s == nil && seg.Start > 0:
		return nil, backend.ErrSequenceLost
	case s == nil && len(m.seqs) >= m.info.Sequences:
		return nil, backend.ErrNoMemory
	}
	if s == nil {
		s = &toySeq{}
	}
	if seg.Start == 0 {
		*s = toySeq{}
	}
	if seg.Setup != nil {
		s.setup = *seg.Setup
	}
	s.settle(seg.Keep)
	if seg.Start > len(s.rows) {
		return nil, backend.ErrSequenceLost
	}
	s.rows = s.rows[:seg.Start]
	used := 0
	for _, o := range m.seqs {
		used += len(o.rows) + len(o.tree)
	}
	if used+len(seg.Tokens) > m.info.KVTokens {
		return nil, backend.ErrNoMemory
	}
	m.seqs[seg.Sequence] = s
	s.at, s.tree, s.parents = seg.Start, slices.Clone(seg.Tokens), slices.Clone(seg.Parents)
	if m.poison != nil && m.poison(append(slices.Clone(s.rows), seg.Tokens...)) {
		return nil, backend.ErrUnavailable
	}
	var out []speculative.Choice
	for i := seg.From; i < len(seg.Tokens); i++ {
		out = append(out, speculative.Choice{Token: toyNext(s.setup.Params.Seed, s.path(i)), Confidence: 0.9, Second: -1})
	}
	return out, nil
}

// settle turns the rows of the last segment into log rows.
func (s *toySeq) settle(keep []int32) {
	if keep == nil {
		s.rows = append(s.rows, s.tree...)
	}
	for _, r := range keep {
		s.rows = append(s.rows, s.tree[r])
	}
	s.tree, s.parents = nil, nil
}

// path is the log that row i of the last segment sees.
func (s *toySeq) path(i int) []backend.Token {
	if s.parents == nil {
		return append(slices.Clone(s.rows), s.tree[:i+1]...)
	}
	var back []backend.Token
	for ; i >= 0; i = int(s.parents[i]) {
		back = append(back, s.tree[i])
	}
	slices.Reverse(back)
	return append(slices.Clone(s.rows), back...)
}

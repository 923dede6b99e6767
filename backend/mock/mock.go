// Package mock is a scripted engine for tests and load: its "model" is a hash of the token log, its
// speed is what the options say, and it runs thousands of sequences in little memory. Two of them
// with one seed are a target and a draft: the draft agrees as often as its option "agreement" says.
//
// Options: vocab (tokens, default 32000), vocabulary (fingerprint), context (4096), sequences (8192),
// kv_tokens (16777216), trees (true), seed (0), agreement (1: the target), second (0.5: how often the
// second choice is right where the first is wrong), spread (0: the probability of agreement varies
// evenly around its mean; k: it is drawn from Beta(mean k, (1-mean) k) and told as it is), end_after (generated tokens until the end token,
// 0: never), text (bytes: token t spells the byte (t-1) mod 256, so that constraints work; none), name; times: load, step (per pass), sequence and position (more per segment and row);
// faults: fail_load (the error's text), fail_after (the process exits in the pass after so many),
// panic_after (likewise, by a panic).
//
// Of the sampling parameters seed and choice count when the temperature is not 0; the others are
// ignored.
package mock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Engine is a backend.Model.
type Engine struct {
	o    options
	turn chan struct{} // holds one value: passes run one at a time
	text *backend.Samplers

	mu     sync.Mutex
	seqs   map[backend.Sequence]*sequence
	rows   int
	passes int
}

// sequence is one session's rows.
type sequence struct {
	key          uint64
	promptLength int
	rows         []uint32 // rows[i] is the state after the row of position i, or of the tree's i-th row
	base         int      // position where the last segment began
	parents      []int32  // of the last segment, when it was a tree
	allowed      *constraint
	rule         speculative.Rule
	drafts       bool
}

var _ backend.Model = (*Engine)(nil)

// Load is a backend.Loader; the model's name is free.
func Load(ctx context.Context, _ string, opts map[string]string, progress func(float32)) (backend.Model, error) {
	o, err := parse(opts)
	if err != nil {
		return nil, err
	}
	for i := range 10 {
		if progress != nil {
			progress(float32(i) / 10)
		}
		if err := sleep(ctx, o.load/10); err != nil {
			return nil, err
		}
	}
	if o.failLoad != "" {
		return nil, fmt.Errorf("%w: %s", backend.ErrLoad, o.failLoad)
	}
	e := &Engine{o: o, turn: make(chan struct{}, 1), seqs: map[backend.Sequence]*sequence{}}
	e.turn <- struct{}{}
	if o.text == "bytes" {
		e.text = backend.NewSamplers(o.vocab, spell, []backend.Token{endToken})
	} else {
		e.text = backend.NewSamplers(o.vocab, nil, nil)
	}
	return e, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Info implements backend.Model.
func (e *Engine) Info() backend.Info {
	return backend.Info{Name: e.o.name, Engine: "mock", Architecture: "hash", ContextLength: e.o.context,
		VocabularySize: e.o.vocab, Vocabulary: e.o.vocabulary, EndTokens: []backend.Token{endToken},
		Numerics: fmt.Sprintf("mock-1-%d", e.o.seed), Sequences: e.o.sequences, KVTokens: e.o.kvTokens, Trees: e.o.trees, Rules: true, Constraints: e.o.text == "bytes"}
}

// pass takes the device for as long as a pass over the batch lasts.
func (e *Engine) pass(ctx context.Context, sequences, rows int) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.turn:
	}
	defer func() { e.turn <- struct{}{} }()
	e.mu.Lock()
	e.passes++
	n := e.passes
	e.mu.Unlock()
	if e.o.failAfter > 0 && n > e.o.failAfter {
		fmt.Fprintf(os.Stderr, "[ERROR] the mock engine exits after %d passes, as it was told\n", e.o.failAfter)
		os.Exit(1)
	}
	if e.o.panicAfter > 0 && n > e.o.panicAfter {
		panic(fmt.Sprintf("the mock engine panics after %d passes, as it was told", e.o.panicAfter))
	}
	return sleep(ctx, e.o.step+time.Duration(sequences)*e.o.sequence+time.Duration(rows)*e.o.position)
}

// Forward implements backend.Model.
func (e *Engine) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	rows := 0
	for i := range batch {
		rows += len(batch[i].Tokens)
	}
	if err := e.pass(ctx, len(batch), rows); err != nil {
		return nil, err
	}
	out := make([]backend.Result, len(batch))
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range batch {
		out[i].Choices, out[i].Err = e.run(&batch[i])
		out[i].Logprobs = logprobs(out[i].Choices, batch[i].Logprobs)
	}
	return out, nil
}

// Draft implements backend.Model.
func (e *Engine) Draft(ctx context.Context, req backend.DraftRequest, emit func(speculative.Choice) bool) error {
	seg, path := req.Segment, float32(1)
	if seg.Parents != nil || len(seg.Tokens) == 0 {
		return fmt.Errorf("%w: drafting goes on from a chain of tokens", backend.ErrInvalid)
	}
	for n := 0; n < req.MaxTokens; n++ {
		_ = e.pass(ctx, 1, len(seg.Tokens)) // fails when ctx is done only
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a draft that is told to stop has not failed
		}
		seg.From = len(seg.Tokens) - 1
		e.mu.Lock()
		choices, err := e.run(&seg)
		e.mu.Unlock()
		if n > 0 && errors.Is(err, backend.ErrContextFull) {
			return nil
		}
		if err != nil {
			return err
		}
		c := choices[0]
		path *= c.Confidence
		if !emit(c) || c.Token == endToken || path < req.MinPath {
			return nil
		}
		seg = backend.Segment{Sequence: seg.Sequence, Start: seg.Start + len(seg.Tokens), Tokens: []backend.Token{c.Token}}
	}
	return nil
}

// Release implements backend.Model.
func (e *Engine) Release(_ context.Context, sequences []backend.Sequence) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range sequences {
		if s := e.seqs[id]; s != nil {
			e.rows -= len(s.rows)
			delete(e.seqs, id)
		}
	}
	return nil
}

// Held returns how many sequences and rows are held, for tests.
func (e *Engine) Held() (sequences, rows int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.seqs), e.rows
}

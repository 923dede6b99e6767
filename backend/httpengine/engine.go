// Package httpengine makes a target of an inference server that scores given tokens over HTTP: one request
// per segment runs the whole log and brings back the most probable tokens after each row that a choice is
// wanted for. The choices are made here, from those. A Dialect knows one server's words.
//
// The server keeps no sequence: this engine holds each one's tokens, and the server's own prefix cache,
// where it applies, saves the work of the prefix.
package httpengine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Dialect speaks to one kind of server. Its methods are safe for concurrent use.
type Dialect interface {
	// Name of the engine, as Info tells it.
	Name() string
	// Identify asks what runs there. model is the name of a served model, empty for the first.
	Identify(ctx context.Context, c *Client, model string) (Identity, error)
	// Score returns one row per token from q.From on.
	Score(ctx context.Context, c *Client, q Query) ([]Row, error)
	// Tokenize returns text as the server's tokenizer cuts it, without special tokens; ErrNoTokenizer when
	// the server does not tell.
	Tokenize(ctx context.Context, c *Client, model, text string) ([]backend.Token, error)
}

// Identity is what a server says of itself.
type Identity struct {
	Model, Version string
	Context        int // tokens of a log that can be scored, 0: unknown
	KVTokens       int // 0: unknown
}

// Query asks for the rows of tokens from From on.
type Query struct {
	Model  string
	Tokens []backend.Token
	From   int
	Top    int // tokens wanted per row
}

// Row is what follows one token: the most probable tokens with their log probabilities, before any
// sampling parameter. No token that is missing is more probable than one that is there.
type Row []speculative.TokenLogprob

// ErrNoTokenizer says that the server has no call that tokenizes.
var ErrNoTokenizer = errors.New("the server does not tokenize")

// Engine implements backend.Model and io.Closer.
type Engine struct {
	d     Dialect
	c     *Client
	o     options
	info  backend.Info
	model string
	tally tally
	dense sync.Pool // of []float32, one per token, all minus infinity

	mu   sync.Mutex
	seqs map[backend.Sequence]*sequence
	rows int
}

// sequence is one session's tokens; log and setup are replaced, never changed.
type sequence struct {
	log     []backend.Token
	setup   *setup
	version uint64
}

var _ backend.Model = (*Engine)(nil)

// Info implements backend.Model.
func (e *Engine) Info() backend.Info { return e.info }

// Forward implements backend.Model: the batch's segments are requests at a time, for the server to batch.
// A segment that fails leaves its sequence as it was.
func (e *Engine) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	out := make([]backend.Result, len(batch))
	busy := make(map[backend.Sequence]bool, len(batch))
	g, run := errgroup.WithContext(ctx)
	for i := range batch {
		s := &batch[i]
		if busy[s.Sequence] {
			out[i].Err = fmt.Errorf("%w: sequence %d stands twice in the batch", backend.ErrInvalid, s.Sequence)
			continue
		}
		busy[s.Sequence] = true
		g.Go(func() error {
			out[i] = e.run(run, s)
			if errors.Is(out[i].Err, backend.ErrUnavailable) || run.Err() != nil {
				return out[i].Err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return out, nil
}

// run is one segment.
func (e *Engine) run(ctx context.Context, seg *backend.Segment) backend.Result {
	log, set, err := e.prepare(seg)
	if err != nil {
		return backend.Result{Err: err}
	}
	var r backend.Result
	if from := seg.Start + seg.From; from < len(log) { // a prompt's chunk waits for the request that wants choices
		rows, err := e.d.Score(ctx, e.c, Query{Model: e.model, Tokens: log, From: from, Top: e.o.top})
		if err == nil && len(rows) != len(log)-from {
			err = fmt.Errorf("the server scored %d rows instead of %d", len(rows), len(log)-from)
		}
		if err == nil {
			r, err = e.choose(set, seg, log, rows)
		}
		if err != nil {
			return backend.Result{Err: err}
		}
	}
	if err := e.commit(seg.Sequence, log, set); err != nil {
		return backend.Result{Err: err}
	}
	return r
}

// prepare checks a segment and returns the sequence's log with it.
func (e *Engine) prepare(seg *backend.Segment) ([]backend.Token, *setup, error) {
	if err := e.check(seg); err != nil {
		return nil, nil, err
	}
	var set *setup
	if seg.Setup != nil {
		var err error
		if set, err = e.o.setup(seg.Setup); err != nil {
			return nil, nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.seqs[seg.Sequence]
	switch {
	case s == nil && seg.Start > 0:
		return nil, nil, backend.ErrSequenceLost
	case s != nil && seg.Start > len(s.log):
		return nil, nil, fmt.Errorf("%w: %d rows are held, the segment starts at %d", backend.ErrSequenceLost, len(s.log), seg.Start)
	}
	log := make([]backend.Token, 0, seg.Start+len(seg.Tokens))
	if s != nil {
		log = append(log, s.log[:seg.Start]...)
		if set == nil {
			set = s.setup
		}
	}
	return append(log, seg.Tokens...), set, e.room(s, len(log)+len(seg.Tokens))
}

// room says whether a sequence may hold n rows; the mutex is held.
func (e *Engine) room(s *sequence, n int) error {
	held := 0
	if s != nil {
		held = len(s.log)
	} else if len(e.seqs) >= e.info.Sequences {
		return fmt.Errorf("%w: %d sequences are all", backend.ErrNoMemory, e.info.Sequences)
	}
	if e.rows-held+n > e.info.KVTokens {
		return fmt.Errorf("%w: %d of %d rows are held", backend.ErrNoMemory, e.rows, e.info.KVTokens)
	}
	return nil
}

// commit makes log the sequence's.
func (e *Engine) commit(id backend.Sequence, log []backend.Token, set *setup) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.seqs[id]
	if err := e.room(s, len(log)); err != nil {
		return err
	}
	if s == nil {
		s = &sequence{}
		e.seqs[id] = s
	}
	e.rows += len(log) - len(s.log)
	s.log, s.setup = log, set
	s.version++
	return nil
}

// check looks at what does not depend on the rows held.
func (e *Engine) check(seg *backend.Segment) error {
	n := len(seg.Tokens)
	switch {
	case n == 0 || seg.Start < 0 || seg.From < 0 || seg.From > n:
		return fmt.Errorf("%w: %d tokens from %d on, choices from %d", backend.ErrInvalid, n, seg.Start, seg.From)
	case seg.Start == 0 && seg.Setup == nil:
		return fmt.Errorf("%w: a sequence begins without setup", backend.ErrInvalid)
	case seg.Parents != nil:
		return fmt.Errorf("%w: %s scores chains only, no trees", backend.ErrInvalid, e.d.Name())
	case seg.Keep != nil:
		return fmt.Errorf("%w: there is no tree to keep rows of", backend.ErrSequenceLost)
	case seg.Start > e.info.ContextLength-n:
		return fmt.Errorf("%w: %d rows from %d on, it ends at %d", backend.ErrContextFull, n, seg.Start, e.info.ContextLength)
	}
	for _, t := range seg.Tokens {
		if t < 0 || int(t) >= e.info.VocabularySize {
			return fmt.Errorf("%w: token %d is beyond the vocabulary of %d", backend.ErrInvalid, t, e.info.VocabularySize)
		}
	}
	return nil
}

// Draft implements backend.Model.
func (e *Engine) Draft(ctx context.Context, req backend.DraftRequest, emit func(speculative.Choice) bool) error {
	return backend.DraftSteps(ctx, req, e.info, func(ctx context.Context, s backend.Segment, version uint64) (speculative.Choice, uint64, error) {
		if version != 0 && e.version(s.Sequence) != version {
			return speculative.Choice{}, 0, fmt.Errorf("%w: it was changed while drafting", backend.ErrSequenceLost)
		}
		r := e.run(ctx, &s)
		if r.Err != nil || len(r.Choices) == 0 {
			return speculative.Choice{}, 0, r.Err
		}
		return r.Choices[0], e.version(s.Sequence), nil
	}, emit)
}

func (e *Engine) version(id backend.Sequence) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.seqs[id]; s != nil {
		return s.version
	}
	return 0
}

// Release implements backend.Model.
func (e *Engine) Release(_ context.Context, sequences []backend.Sequence) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range sequences {
		if s := e.seqs[id]; s != nil {
			e.rows -= len(s.log)
			delete(e.seqs, id)
		}
	}
	return nil
}

// Close ends the connections.
func (e *Engine) Close() error {
	e.c.http.CloseIdleConnections()
	return nil
}

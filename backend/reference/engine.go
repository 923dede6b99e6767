package reference

import (
	"context"
	"fmt"
	"slices"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Engine is a loaded model; it implements backend.Model and io.Closer. A result depends on a
// sequence's own log only, never on what else is in a batch, on how a log was cut into segments,
// or on the number of threads.
type Engine struct {
	info         backend.Info
	c            config
	maxSequences int
	samplers     *backend.Samplers

	// turn is held by whoever uses what follows. A channel, because those who wait are served in
	// order and may give up.
	turn      chan struct{}
	m         *machine
	kv        pages
	sequences map[backend.Sequence]*sequence
	rows      []row // scratch
	closed    bool
}

var _ backend.Model = (*Engine)(nil)

// Info describes the model.
func (e *Engine) Info() backend.Info {
	i := e.info
	i.EndTokens = slices.Clone(i.EndTokens)
	return i
}

func (e *Engine) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.closed {
		e.unlock()
		return fmt.Errorf("%w: it was closed", backend.ErrUnavailable)
	}
	return nil
}

func (e *Engine) unlock() { <-e.turn }

// Forward implements backend.Model. A segment that fails leaves its sequence as it was; when ctx
// ends first, the sequences hold the rows before their segments.
func (e *Engine) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	if err := e.lock(ctx); err != nil {
		return nil, err
	}
	defer e.unlock()
	return e.forward(ctx, batch)
}

func (e *Engine) forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	results := make([]backend.Result, len(batch))
	tasks := make([]*task, len(batch))
	busy := make(map[backend.Sequence]bool, len(batch))
	e.rows = e.rows[:0]
	for i, s := range batch {
		if busy[s.Sequence] {
			results[i].Err = fmt.Errorf("%w: sequence %d stands twice in the batch", backend.ErrInvalid, s.Sequence)
			continue
		}
		busy[s.Sequence] = true
		if tasks[i], results[i].Err = e.prepare(s); tasks[i] != nil {
			e.rows = tasks[i].appendRows(e.rows)
		}
	}
	err := e.m.forward(ctx, e.rows)
	clear(e.rows)
	for i, t := range tasks {
		switch {
		case t == nil:
		case err != nil:
			e.abandon(t)
		case t.broken:
			e.abandon(t)
			results[i].Err = backend.ErrNotFinite
		default:
			t.finish()
			results[i].Choices, results[i].Logprobs = t.choices, t.logprobs
		}
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// Draft implements backend.Model. Other calls get their turn between two tokens.
func (e *Engine) Draft(ctx context.Context, req backend.DraftRequest, emit func(speculative.Choice) bool) error {
	return backend.DraftSteps(ctx, req, e.info, e.draftOne, emit)
}

// draftOne runs one step of a draft. version is that of the sequence after the step before, 0 for
// none: somebody else may have used it in between.
func (e *Engine) draftOne(ctx context.Context, s backend.Segment, version uint64) (speculative.Choice, uint64, error) {
	if err := e.lock(ctx); err != nil {
		return speculative.Choice{}, 0, err
	}
	defer e.unlock()
	if q := e.sequences[s.Sequence]; version != 0 && (q == nil || q.version != version) {
		return speculative.Choice{}, 0, fmt.Errorf("%w: it was changed while drafting", backend.ErrSequenceLost)
	}
	results, err := e.forward(ctx, []backend.Segment{s})
	if err != nil {
		return speculative.Choice{}, 0, err
	}
	r := results[0]
	if r.Err != nil || len(r.Choices) == 0 {
		return speculative.Choice{}, 0, r.Err
	}
	return r.Choices[0], e.sequences[s.Sequence].version, nil
}

// Release implements backend.Model.
func (e *Engine) Release(ctx context.Context, sequences []backend.Sequence) error {
	if err := e.lock(ctx); err != nil {
		return err
	}
	defer e.unlock()
	for _, s := range sequences {
		e.drop(s)
	}
	return nil
}

// Close ends the engine's goroutines and frees its memory once the running call is over.
func (e *Engine) Close() error {
	e.turn <- struct{}{}
	defer e.unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.m.pool.close()
	e.m, e.sequences, e.kv = nil, nil, pages{}
	return nil
}

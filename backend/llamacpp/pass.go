package llamacpp

import (
	"context"
	"errors"
	"fmt"

	"github.com/hybridgroup/yzma/pkg/llama"
)

// errFull: llama.cpp found no place in its KV cache.
var errFull = errors.New("the KV cache is full")

// pass runs rows in as many batches as they need and makes their choices.
func (e *Engine) pass(ctx context.Context, rows []row) error {
	e.batch.NTokens, e.outputs = 0, 0
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 0
		for n < len(rows) && n < e.batchRows && !(rows[n].logits && e.outputs == e.batchOutputs) {
			if err := e.add(rows[n]); err != nil {
				return err
			}
			n++
		}
		if err := e.decode(ctx); err != nil {
			return err
		}
		for i := range rows[:n] {
			if err := e.choose(&rows[i], int32(i)); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return nil
}

// add puts a row into the batch.
func (e *Engine) add(r row) error {
	if r.logits {
		e.outputs++
	}
	return e.batch.Add(llama.Token(r.token), llama.Pos(r.pos), r.ids, r.logits)
}

// decode runs the batch and empties it; the logits are there until the next.
func (e *Engine) decode(ctx context.Context) error {
	done := e.abort.during(ctx)
	code, err := llama.Decode(e.ctx, e.batch)
	done()
	e.batch.NTokens, e.outputs = 0, 0
	switch {
	case err != nil || code == 0:
		return err
	case ctx.Err() != nil:
		shared.log.take() // what it says of being aborted explains no later failure
		return ctx.Err()
	case code == 1:
		return errFull
	}
	return fmt.Errorf("llama.cpp's decode failed (%d): %s", code, shared.log.take())
}

// choose makes the choice after the batch's row i.
func (e *Engine) choose(r *row, i int32) error {
	if !r.logits {
		r.task.choose(r, nil)
		return nil
	}
	logits, err := llama.GetLogitsIth(e.ctx, i, e.vocab)
	if err != nil {
		return err
	}
	if logits == nil {
		return fmt.Errorf("llama.cpp has no logits for row %d", i)
	}
	if e.observe != nil {
		e.observe(r.task.Sequence, r.pos, logits)
	}
	r.task.choose(r, logits)
	return nil
}

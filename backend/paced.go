package backend

import (
	"context"
	"io"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// Paced makes a model as slow as a larger one: a pass takes at least step, and position more for
// each of its rows. A drafted token is a pass of one row, the first one of the segment's rows.
func Paced(m Model, step, position time.Duration) Model {
	return &paced{m, step, position}
}

type paced struct {
	Model
	step, position time.Duration
}

// lifecycle is what Host offers beside Model.
type lifecycle interface {
	Generation() uint64
	Wait(ctx context.Context) error
	Running() bool
	PID() int
}

func (p *paced) Forward(ctx context.Context, batch []Segment) ([]Result, error) {
	begin, rows := time.Now(), 0
	for i := range batch {
		rows += len(batch[i].Tokens)
	}
	r, err := p.Model.Forward(ctx, batch)
	if err != nil {
		return nil, err
	}
	return r, p.rest(ctx, begin, rows)
}

// rest sleeps until a pass that began then would have ended.
func (p *paced) rest(ctx context.Context, begin time.Time, rows int) error {
	d := p.step + time.Duration(rows)*p.position - time.Since(begin)
	if d <= 0 {
		return nil
	}
	return sleep(ctx, d)
}

func (p *paced) Draft(ctx context.Context, req DraftRequest, emit func(speculative.Choice) bool) error {
	begin, rows := time.Now(), len(req.Segment.Tokens)
	return p.Model.Draft(ctx, req, func(c speculative.Choice) bool {
		if p.rest(ctx, begin, rows) != nil {
			return false
		}
		begin, rows = time.Now(), 1
		return emit(c)
	})
}

// Generation is 0 for a model without a process of its own.
func (p *paced) Generation() uint64 {
	if l, ok := p.Model.(lifecycle); ok {
		return l.Generation()
	}
	return 0
}

func (p *paced) Wait(ctx context.Context) error {
	if l, ok := p.Model.(lifecycle); ok {
		return l.Wait(ctx)
	}
	return nil
}

func (p *paced) Running() bool {
	if l, ok := p.Model.(lifecycle); ok {
		return l.Running()
	}
	return true
}

func (p *paced) PID() int {
	if l, ok := p.Model.(lifecycle); ok {
		return l.PID()
	}
	return 0
}

func (p *paced) Close() error {
	if c, ok := p.Model.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// drafter runs one session's share of the draft model, one job at a time, in a goroutine of its
// own. Whatever happens to the draft, it only ever costs drafts: a failed job is given back when it
// is worth asking again.
type drafter struct {
	m       backend.Model
	hard    context.Context // ends calls that the session's end does not
	setup   *backend.Setup
	logger  *slog.Logger
	metrics *Metrics
	tracing *telemetry.Tracing
	call    context.Context // hard, within the span of the job under way
	seq     backend.Sequence
	log     []Token     // the committed log as far as told
	held    []Token     // whose rows the model holds
	used    bool        // the model may hold rows
	begun   bool        // the sequence has this session's setup
	from    *draftRows  // kept of an earlier generation; nil: none
	rows    *draftRows  // where to leave what is held at the end, set before jobs is closed; nil: it is freed
	spare   func() bool // frees memory that finished generations hold; false: there is none
	pause   time.Duration
	last    time.Duration // what one token last took

	jobs    chan draftJob
	results chan draftResult        // one per job
	written chan speculative.Choice // what a finishing job writes
}

// draftJob asks for one expansion, or, when finish is set, to go on alone to the end.
type draftJob struct {
	ctx    context.Context // its end gives the job back at the next chunk
	tail   []Token         // committed since the last job
	work   speculative.Work
	finish bool
	limit  int     // length of the log to finish at
	more   []Token // after the log, when finishing: written before, and not confirmed
}

type draftResult struct {
	id       uint64
	reused   int // rows of an earlier generation that this job, the first one, went on from
	choice   speculative.Choice
	took     time.Duration
	ok       bool
	finished bool  // of a finishing job
	off      bool  // never ask again
	err      error // why, or how finishing failed
}

// Rows of one forward pass while the draft catches up: short enough that a cancelled session leaves
// soon and other sessions' drafts come in between.
const draftChunk = 64

// Pauses after which a draft without memory or process is tried again.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

func newDrafter(hard context.Context, m backend.Model, seq backend.Sequence, setup *backend.Setup, c *Config) *drafter {
	return &drafter{m: m, hard: hard, setup: setup, logger: c.Logger, metrics: c.Metrics, tracing: c.Tracing, call: hard, seq: seq,
		spare: func() bool { return false }, jobs: make(chan draftJob, 1), results: make(chan draftResult, 1), written: make(chan speculative.Choice)}
}

// run works until jobs is closed, then frees the model's rows.
func (d *drafter) run() {
	defer d.leave()
	if d.from != nil {
		if <-d.from.ready; d.from.held != nil {
			d.seq, d.held, d.used = d.from.seq, d.from.held, true
		}
	}
	for j := range d.jobs {
		d.log = append(d.log, j.tail...)
		var span telemetry.Span
		d.call, span = d.tracing.Start(telemetry.Carry(d.hard, j.ctx), "draft")
		var r draftResult
		if j.finish {
			r = draftResult{finished: true, err: d.finish(j)}
		} else {
			r = d.expand(j)
		}
		span.End(r.err)
		d.results <- r
	}
}

// releaseTimeout bounds the call that frees rows; a plugin that does not answer holds none for long.
const releaseTimeout = 5 * time.Second

func (d *drafter) release() {
	d.held = nil
	if !d.used {
		return
	}
	d.used = false
	freeSequence(d.hard, d.m, d.seq, d.logger)
}

func freeSequence(ctx context.Context, m backend.Model, seq backend.Sequence, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := m.Release(ctx, []backend.Sequence{seq}); err != nil && !errors.Is(err, backend.ErrUnavailable) {
		logger.Warn("the draft did not free its memory", "error", err)
	}
}

// leave frees the rows, or leaves them for the next turn.
func (d *drafter) leave() {
	if d.rows == nil {
		d.release()
		return
	}
	if len(d.held) == 0 {
		d.release()
	}
	d.rows.m, d.rows.seq, d.rows.held = d.m, d.seq, d.held
	close(d.rows.ready)
}

// expand answers one Work.
func (d *drafter) expand(j draftJob) draftResult {
	r := draftResult{id: j.work.ID}
	full := slices.Concat(d.log, j.work.Path)
	if !d.begun {
		r.reused = common(d.held, full)
	}
	for {
		rows, err := d.prefill(j.ctx, full)
		if err == nil && j.ctx.Err() == nil {
			begin := time.Now()
			var c []speculative.Choice
			if c, err = d.forward(full, rows, len(full), len(full)-1); err == nil {
				if len(c) != 1 {
					return draftResult{id: r.id, off: true, err: fmt.Errorf("the draft gave %d choices for one row", len(c))}
				}
				if n := len(full) - rows; n <= 2 || d.last == 0 {
					d.last = time.Since(begin) / time.Duration(n)
				}
				d.pause, r.choice, r.took, r.ok = 0, c[0], d.last, true
				return r
			}
		}
		if j.ctx.Err() != nil {
			return r
		}
		again, err := d.recover(j.ctx, err)
		if err != nil {
			r.off, r.err = true, err
			return r
		}
		if !again {
			return r
		}
	}
}

// prefill runs full in chunks until at most one chunk is left, and returns how many rows are held.
func (d *drafter) prefill(ctx context.Context, full []Token) (int, error) {
	rows := min(common(d.held, full), len(full)-1)
	for len(full)-rows > draftChunk && ctx.Err() == nil {
		if _, err := d.forward(full, rows, rows+draftChunk, rows+draftChunk); err != nil {
			return rows, err
		}
		rows += draftChunk
	}
	return rows, nil
}

func common(a, b []Token) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// forward runs full[start:end] and returns the choices after full[from:end].
func (d *drafter) forward(full []Token, start, end, from int) ([]speculative.Choice, error) {
	s := backend.Segment{Sequence: d.seq, Start: start, Tokens: full[start:end], From: from - start}
	if start == 0 || !d.begun {
		s.Setup = d.setup
	}
	d.used = true
	d.held = append(d.held[:start], full[start:end]...)
	begin := time.Now()
	results, err := d.m.Forward(d.call, []backend.Segment{s})
	d.metrics.draft.Observe(time.Since(begin).Seconds())
	if err == nil && len(results) != 1 {
		err = fmt.Errorf("the draft gave %d results for one segment", len(results))
	}
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		d.held = nil
		return nil, err
	}
	d.begun = true
	return results[0].Choices, nil
}

// recover deals with an error of the draft: again says to run the same job anew at once; otherwise
// it is given back, after the pause that the error asks for. An error is for good.
func (d *drafter) recover(ctx context.Context, err error) (again bool, _ error) {
	d.held = nil
	switch {
	case errors.Is(err, backend.ErrSequenceLost):
		if d.pause == 0 {
			d.pause = minPause
			return true, nil
		}
		d.sleep(ctx, pauseLost)
	case errors.Is(err, backend.ErrNoMemory):
		if d.spare() {
			return true, nil
		}
		d.release() // what it held helps others
		d.sleep(ctx, pauseMemory)
	case errors.Is(err, backend.ErrUnavailable):
		return false, d.wait(ctx)
	case errors.Is(err, backend.ErrContextFull), errors.Is(err, backend.ErrInvalid), errors.Is(err, backend.ErrLoad), errors.Is(err, backend.ErrNotFinite):
		return false, err
	default:
		d.logger.Warn("the draft failed", "error", err)
		d.sleep(ctx, pauseFailed)
	}
	return false, nil
}

// waiter is what a Model offers whose process is restarted when it dies.
type waiter interface {
	Wait(ctx context.Context) error
}

// wait waits until the draft's process is back; an error says that it never will be.
func (d *drafter) wait(ctx context.Context) error {
	d.used = false
	w, ok := d.m.(waiter)
	if !ok {
		d.sleep(ctx, pauseGone)
		return nil
	}
	d.metrics.drafts.WithLabelValues(pauseGone).Inc()
	if err := w.Wait(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// sleep pauses for a while that doubles with each failure in a row.
func (d *drafter) sleep(ctx context.Context, why string) {
	d.metrics.drafts.WithLabelValues(why).Inc()
	d.pause = min(max(2*d.pause, minPause), maxPause)
	t := time.NewTimer(d.pause/2 + rand.N(d.pause/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// finish writes the rest of the answer by the draft alone. It ends at the limit, at the draft's
// context, when ctx is done, or with an error that pausing does not mend.
func (d *drafter) finish(j draftJob) error {
	full := slices.Concat(d.log, j.more)
	limit := min(j.limit, d.m.Info().ContextLength)
	for len(full) < limit && j.ctx.Err() == nil {
		had := len(full)
		err := d.decode(j.ctx, &full, limit-had)
		switch {
		case err == nil && len(full) == had:
			return nil // the draft has nothing more to say
		case err == nil || j.ctx.Err() != nil:
			continue
		case errors.Is(err, backend.ErrContextFull):
			return nil
		}
		if _, err := d.recover(j.ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// decode catches up and lets the model write until it stops by itself.
func (d *drafter) decode(ctx context.Context, full *[]Token, n int) error {
	start, err := d.prefill(ctx, *full)
	if err != nil || ctx.Err() != nil {
		return err
	}
	s := backend.Segment{Sequence: d.seq, Start: start, Tokens: (*full)[start:], From: len(*full) - start - 1}
	if start == 0 || !d.begun {
		s.Setup = d.setup
	}
	d.used, d.begun = true, true
	err = d.m.Draft(ctx, backend.DraftRequest{Segment: s, MaxTokens: n}, func(c speculative.Choice) bool {
		select {
		case d.written <- c:
			*full = append(*full, c.Token)
			d.pause = 0
			return true
		case <-ctx.Done():
			return false
		}
	})
	d.held = nil
	if err == nil { // whether the last token has a row is the engine's business
		d.held = slices.Clone((*full)[:len(*full)-1])
	}
	return err
}

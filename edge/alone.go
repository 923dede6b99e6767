package edge

import (
	"context"
	"fmt"

	"github.com/outrider-llm/outrider/speculative"
)

// aloneState is a session that the draft finishes alone.
type aloneState struct {
	started bool // the drafter writes; before that it ends its present job
	ender   *speculative.Ender
	length  int // of the log
	limit   int
	why     string
}

// goAlone turns to the draft for the rest of the answer. There is no way back: what it writes is
// given out.
func (s *session) goAlone(why string) {
	log := s.p.Log()
	a := &aloneState{length: len(log), limit: s.voc.draft.Info().ContextLength, why: why}
	if n := s.e.link.contextOf(s.r.Model); n > 0 {
		a.limit = min(a.limit, n) // a draft that sees the end of the text only knows no limit
	}
	if a.length >= a.limit {
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s (%s), and %d tokens are too many for the draft, which holds %d",
			ErrNoCloud, s.e.c.Cloud, why, a.length, a.limit))
		return
	}
	s.e.c.Logger.Warn("no cloud in reach, the draft finishes alone", "request", s.request, "cloud", s.e.c.Cloud, "error", why)
	s.e.c.Metrics.fallbacks.Inc()
	if m := s.r.MaxTokens; m > 0 {
		a.limit = min(a.limit, len(s.prompt)+m)
	}
	e := speculative.Ending{MaxLength: a.limit, EndTokens: s.ends, Stop: s.r.Stop}
	if t := s.voc.tok; t != nil {
		e.Piece = t.Bytes
	}
	a.ender = speculative.NewEnder(e)
	for i, t := range log[len(s.prompt):] { // none of these ends: the cloud would have said so
		a.ender.Push(t, len(s.prompt)+i+1)
	}
	s.alone, s.sum.Exact = a, false
	s.out.pending("")
	s.dcancel() // gives back the job under way
	s.dctx, s.dcancel = context.WithCancel(s.ctx)
	if !s.busy {
		s.startAlone()
	}
}

func (s *session) startAlone() {
	s.alone.started = true
	s.draft(draftJob{ctx: s.dctx, finish: true, limit: s.alone.limit})
}

// written takes a token that the draft wrote alone.
func (s *session) written(t Token) {
	s.alone.length++
	s.sum.Unverified++
	s.give(GeneratedToken{ID: t, Unverified: true})
	if why := s.alone.ender.Push(t, s.alone.length); why != speculative.NotFinished {
		s.end(why, nil)
	}
}

// aloneDone takes the end of a job.
func (s *session) aloneDone(r draftResult) {
	switch {
	case !s.alone.started:
		s.startAlone()
	case r.err != nil:
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s (%s), and the draft cannot go on alone: %w",
			ErrNoCloud, s.e.c.Cloud, s.alone.why, r.err))
	default:
		s.end(speculative.FinishLength, nil)
	}
}

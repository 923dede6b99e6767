package edge

import (
	"context"
	"fmt"

	"github.com/outrider-llm/outrider/edge/router"
	"github.com/outrider-llm/outrider/speculative"
)

// aloneState is a session that the draft finishes alone.
type aloneState struct {
	started  bool // the drafter writes; before that it ends its present job
	ender    *speculative.Ender
	length   int // of the log
	limit    int
	fallback bool // no cloud is in reach
	whole    bool // the limit is the request's, not the draft's
	why      string
	trial    *trial // the cloud may still go on; nil: it stays with the draft
}

// goAlone turns to the draft for the rest of the answer. There is no way back: what it writes is
// given out.
func (s *session) goAlone(why string) {
	a, err := s.newAlone(why)
	if err != nil {
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s (%s), and %w", ErrNoCloud, s.e.c.Cloud, why, err))
		return
	}
	s.e.c.Logger.Warn("no cloud in reach, the draft finishes alone", "request", s.request, "cloud", s.e.c.Cloud, "error", why)
	s.e.c.Metrics.fallbacks.Inc()
	a.fallback = true
	s.alone, s.sum.Exact, s.sum.Lossless = a, false, false
	s.route.Where, s.route.Reason = OnDevice, "no cloud in reach: "+why
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
func (s *session) written(c speculative.Choice) {
	s.alone.length++
	if s.alone.trial != nil {
		s.tried(c)
		return
	}
	s.unverified(c.Token)
	if why := s.alone.ender.Push(c.Token, s.alone.length); why != speculative.NotFinished {
		s.end(why, nil)
	}
}

// aloneDone takes the end of a job.
func (s *session) aloneDone(r draftResult) {
	switch {
	case !s.alone.started:
		s.startAlone()
	case r.err != nil && s.alone.trial != nil:
		s.escalate(router.Decision{Why: "the draft cannot go on: " + oneLine(r.err.Error())})
	case r.err != nil && !s.alone.fallback:
		s.end(speculative.NotFinished, deviceError("%s", oneLine(r.err.Error())))
	case r.err != nil:
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s (%s), and the draft cannot go on alone: %w",
			ErrNoCloud, s.e.c.Cloud, s.alone.why, r.err))
	case s.alone.trial != nil && !s.alone.whole:
		s.escalate(router.Decision{Why: "the draft's context is full"})
	default:
		s.end(speculative.FinishLength, nil)
	}
}

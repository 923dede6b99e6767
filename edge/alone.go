package edge

import (
	"context"
	"fmt"
	"slices"

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
	barred   bool   // the cloud refused to go on, it is not asked again
	// Of the session before, to go on with.
	where, reason string
}

// goAlone turns to the draft until the cloud is back (rejoin), or for the rest of the answer.
func (s *session) goAlone(why string) {
	a, err := s.newAlone(why)
	if err != nil {
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s (%s), and %w", ErrNoCloud, s.e.c.Cloud, why, err))
		return
	}
	s.e.c.Logger.Warn("no cloud in reach, the draft finishes alone", "request", s.request, "cloud", s.e.c.Cloud, "error", why)
	s.e.c.Metrics.fallbacks.Inc()
	a.fallback, a.where, a.reason = true, s.route.Where, s.route.Reason
	log := s.p.Log()
	a.trial = &trial{at: len(log), hold: s.holdAlone(), all: slices.Clone(s.review.rest(len(log)))}
	a.trial.shown = len(a.trial.all)
	held := s.begun.rest(a.length)
	s.alone, s.review, s.begun = a, nil, nil
	s.route.Where, s.route.Reason = OnDevice, "no cloud in reach: "+why
	s.out.pending("")
	for _, t := range held { // written before
		if a.length++; s.wrote(t) {
			return
		}
	}
	s.dcancel() // gives back the job under way
	s.dctx, s.dcancel = context.WithCancel(s.ctx)
	if s.jobs == 0 {
		s.startAlone()
	}
}

func (s *session) startAlone() {
	s.alone.started = true
	j := draftJob{ctx: s.dctx, finish: true, limit: s.alone.limit}
	if t := s.alone.trial; t != nil {
		j.more = slices.Clone(t.all)
	}
	s.draft(j)
}

// written takes a token that the draft wrote alone.
func (s *session) written(c speculative.Choice) {
	s.alone.length++
	switch {
	case s.alone.fallback:
		s.wrote(c.Token)
		return
	case s.alone.trial != nil:
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
	case !s.alone.started && s.jobs > 0: // another one of before
	case !s.alone.started:
		s.startAlone()
	case r.err != nil && s.alone.trial != nil && !s.alone.fallback:
		s.escalate(router.Decision{Why: "the draft cannot go on: " + oneLine(r.err.Error())})
	case r.err != nil && !s.alone.fallback:
		s.end(speculative.NotFinished, deviceError("%s", oneLine(r.err.Error())))
	case r.err != nil:
		s.show(len(s.alone.trial.all))
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s (%s), and the draft cannot go on alone: %w",
			ErrNoCloud, s.e.c.Cloud, s.alone.why, r.err))
	case s.alone.trial != nil && !s.alone.whole && !s.alone.fallback:
		s.escalate(router.Decision{Why: "the draft's context is full"})
	default:
		if t := s.alone.trial; t != nil {
			s.show(len(t.all))
		}
		s.end(speculative.FinishLength, nil)
	}
}

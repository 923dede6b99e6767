package cloud

import (
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// tally gathers what the sessions of a step did, so that a step adds to the metrics once.
type tally struct {
	fates                [5]int
	spec                 telemetry.Acceptance
	drafted, late, stale int
	own, ownAccepted     int
}

// tallyPass counts a session's share of a step.
func (l *loop) tallyPass(s *session, c speculative.Commit) {
	if len(c.Tokens) == 0 {
		return
	}
	accepted := 0
	for _, f := range c.Fates {
		l.tally.fates[f]++
		if f == speculative.Accepted {
			accepted++
		}
	}
	l.tally.spec.Pass(accepted)
	if !s.spoke {
		s.spoke = true
		l.m.first.Observe((l.now() - s.opened).Seconds())
	}
	l.tallyUsage(s)
}

// tallyUsage counts what has been added to a session's usage.
func (l *loop) tallyUsage(s *session) {
	u, had, t := s.v.Usage(), s.counted, &l.tally
	t.drafted += u.Drafted - had.Drafted
	t.late += u.Late - had.Late
	t.stale += u.Stale - had.Stale
	t.own += u.OwnJudged - had.OwnJudged
	t.ownAccepted += u.OwnAccepted - had.OwnAccepted
	t.spec.Drafts += u.ScoringPasses - had.ScoringPasses
	t.spec.DraftTokens += u.Judged - had.Judged
	t.spec.Accepted += u.Accepted - had.Accepted
	s.counted = u
}

// publish adds the tally to the metrics and empties it.
func (l *loop) publish() {
	t := &l.tally
	for f, n := range t.fates {
		if n > 0 {
			l.m.fate[f].Add(float64(n))
		}
	}
	l.m.drafted.Add(float64(t.drafted))
	l.m.judged.Add(float64(t.spec.DraftTokens))
	l.m.accepted.Add(float64(t.spec.Accepted))
	l.m.late.Add(float64(t.late))
	l.m.stale.Add(float64(t.stale))
	l.m.own.Add(float64(t.own))
	l.m.ownAccepted.Add(float64(t.ownAccepted))
	l.m.spec.Add(&t.spec)
	l.tally = tally{}
}

package simulate

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// draftStep is what a drafted token costs a baseline: on the edge, or beside the target.
func (c *Config) draftStep(apart bool) time.Duration {
	if d := c.CloudDraft; !apart && d != (speculative.Cost{}) {
		return d.Step + d.Sequence + d.Position
	}
	return c.Model.Draft
}

// own is what the cloud proposes to a session.
func (s *sim) own(x *session) speculative.Own {
	if s.c.CloudDraft == (speculative.Cost{}) {
		return speculative.Own{}
	}
	return speculative.Own{Guess: x.drafts.Guess, Draft: true, Before: &s.learned}
}

// credit is how far the cloud may be ahead of an edge: with a draft of its own it can commit more than the
// default within a long round trip.
func (s *sim) credit() int {
	if s.c.CloudDraft == (speculative.Cost{}) {
		return 0
	}
	return speculative.DraftCredit
}

// draftFor has the cloud's draft make one step for these sessions, where that pays, and says whether it does: the
// target waits for it.
func (s *sim) draftFor(bids []speculative.Bid, who []*session) bool {
	if s.c.CloudDraft == (speculative.Cost{}) {
		return false
	}
	for i := range bids {
		if w := bids[i].Wish; w != nil {
			w.Rows = who[i].drafts.Rows(who[i].v.Log(), w.Path)
		}
	}
	picks := speculative.PlanDrafts(bids, s.c.Limits, s.c.Model.Target, s.c.CloudDraft, s.drafted)
	if len(picks) == 0 {
		return false
	}
	took := s.c.CloudDraft.Step
	for _, i := range picks {
		who[i].v.Spend(speculative.WishPrice(bids[i].Wish, len(picks), s.c.Model.Target, s.c.CloudDraft))
		took += s.c.CloudDraft.Sequence + s.c.CloudDraft.Position*time.Duration(bids[i].Wish.Rows)
	}
	s.stepping = true
	s.drafted += took
	s.out.Busy += took
	s.queue.add(s.now+took, func() {
		s.stepping = false
		for _, i := range picks {
			if x := who[i]; x.v != nil {
				x.say(bids[i].Wish.Path)
			}
		}
		s.step()
	})
	return true
}

// say is what the draft says after the log and a path.
func (x *session) say(path []Token) {
	log := x.v.Log()
	_, tokens, whole := x.drafts.Next(log, path, len(log)+len(path))
	last, onPath := log[len(log)-1], true
	for i, t := range path {
		last, onPath = t, onPath && t == x.pair.target(len(log)+i)
	}
	c := x.pair.draft(len(log)+len(path), last, onPath)
	x.drafts.Ran(tokens, whole, c)
	x.v.Drafted(c)
}

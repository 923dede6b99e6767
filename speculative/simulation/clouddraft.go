package simulation

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// cloudDraft has the cloud's draft make one step, where that pays, and says whether it does: the target waits for it.
func (s *Sim) cloudDraft(bids []speculative.Bid, who []*session) bool {
	for i := range bids {
		if w := bids[i].Wish; w != nil {
			s.i9Wish(who[i], w)
			w.Rows = who[i].cloud.drafts.Rows(who[i].cloud.v.Log(), w.Path)
		}
	}
	picks := speculative.PlanDrafts(bids, s.c.Limits, s.c.Cost, s.c.DraftCost, s.drafted)
	if len(picks) == 0 {
		s.drafted = 0
		return false
	}
	took := s.c.DraftCost.Step
	for _, i := range picks {
		if bids[i].Wish == nil {
			s.violate("I9", who[i], "a token is drafted that nobody wished for")
			return true
		}
		took += s.c.DraftCost.Sequence + s.c.DraftCost.Position*time.Duration(bids[i].Wish.Rows)
		rows := speculative.WishPrice(bids[i].Wish, len(picks), s.c.Cost, s.c.DraftCost)
		who[i].cloud.v.Spend(rows)
		if who[i].cloud.earned -= rows; who[i].cloud.earned+0.02*s.c.Cost.Ratio() < 1 {
			s.violate("I9", who[i], "a draft of %.1f rows is not paid for, %.1f are left", rows, who[i].cloud.earned)
		}
	}
	s.stepping, s.drafted = true, s.drafted+took
	s.result.Seen.Drafted += len(picks)
	s.after(took, func() {
		s.stepping = false
		for _, i := range picks {
			s.said(who[i], bids[i].Wish.Path)
		}
		s.step()
	})
	return true
}

// said hands in what the draft says after the log and a path, or that it has lost its rows. The log may be
// another one by now.
func (s *Sim) said(x *session, path []Token) {
	c := &x.cloud
	if c.v == nil {
		return
	}
	if s.chance(s.c.Faults.StepFails) {
		c.drafts.Lost()
		return
	}
	log := c.v.Log()
	for whole := false; !whole; {
		var tokens []Token
		_, tokens, whole = c.drafts.Next(log, path, 8)
		choice, _ := x.world.own(log, path)
		c.drafts.Ran(tokens, whole, choice)
		if whole {
			c.v.Drafted(choice)
		}
	}
}

// i9Wish: nothing is drafted that could not be committed.
func (s *Sim) i9Wish(x *session, w *speculative.Wish) {
	c := &x.cloud
	if n := len(c.v.Log()) + len(w.Path); n >= c.config.Ending.MaxLength || n+1 > c.acked+c.credit()+1 || !c.config.Own.Draft {
		s.violate("I9", x, "a draft is wished for at %d of %d, %d acknowledged", n, c.config.Ending.MaxLength, c.acked)
	}
}

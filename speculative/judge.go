package speculative

import (
	"fmt"
	"slices"
)

// Segment is a session's share of a step, to be run by the model and handed back to Scored.
type Segment struct {
	Start   int       // position of Tokens[0]
	Tokens  []Token   // Tokens[0] is in the log; the rest are nodes
	Parents []int32   // nil: a chain; otherwise indices into Tokens, -1 for Tokens[0]
	Prefill bool      // no choices are wanted
	Q       []*Sparse // what each of Tokens was drawn from; nil: point masses
	Keep    []int32   // rows of the previous tree segment that became the log, nil: its first
	Own     int       // of Tokens the last so many are the cloud's own proposals
	judged  int
	promise float64 // accepted nodes to expect, as the edge told
	hope    float64 // likewise of own proposals
}

// Begin takes n positions of the offer: prompt tokens, or nodes besides the root, own ones last.
func (v *Verifier) Begin(n int) Segment {
	v.silent = v.silent || v.waiting && !v.answered
	v.spend()
	v.busy, v.waiting, v.gather.waiting = true, false, false
	keep := v.keep
	v.keep = nil
	if v.held < len(v.log)-1 {
		n = min(n, len(v.log)-1-v.held)
		return Segment{Start: v.held, Tokens: slices.Clone(v.log[v.held : v.held+n]), Prefill: true, Keep: keep}
	}
	nodes := v.nodes.candidates(v.c.Ending.MaxLength)
	own := v.own[:min(len(v.own), max(0, n-len(nodes)))]
	nodes = append(nodes[:min(n, len(nodes))], own...)
	v.own = nil
	s := Segment{Own: len(own), Start: len(v.log) - 1, Tokens: make([]Token, 1, len(nodes)+1), Keep: keep, judged: v.nodes.count()}
	s.Tokens[0] = v.log[len(v.log)-1]
	tree := false
	rows := make([]int32, 1, len(nodes)+1)
	rows[0] = -1
	for i, n := range nodes {
		s.Tokens = append(s.Tokens, n.token)
		if n.q != nil {
			if s.Q == nil {
				s.Q = make([]*Sparse, len(nodes)+1)
			}
			s.Q[i+1] = n.q
		}
		if n.own {
			s.hope += n.value
		} else {
			s.promise += n.value
		}
		n.scored, n.row = true, int32(i+1)
		parent := int32(0)
		if n.up != nil {
			parent = n.up.row
		}
		rows = append(rows, parent)
		tree = tree || parent != n.row-1
	}
	if tree {
		s.Parents = rows
	}
	return s
}

// Discard gives a segment back that was not run, or whose sequence the model lost when lost is set:
// then the log is run again from 0.
func (v *Verifier) Discard(s Segment, lost bool) {
	v.busy, v.own = false, nil
	for _, n := range v.nodes.live {
		n.scored = false
	}
	v.keep = s.Keep
	if lost {
		v.held, v.keep = 0, nil
	}
}

// Held returns how many leading rows of the log the model holds.
func (v *Verifier) Held() int { return v.held }

// Lost says that the model holds no rows of this session any more (evicted, or its process died);
// the log is run again from 0. Not for a session with a segment under way: that is Discard's.
func (v *Verifier) Lost() { v.held, v.keep = 0, nil }

// Scored applies the model's choices after each row of a segment and returns the commit to send.
// A prefill segment yields an empty commit. ratio is the one given to Offer.
func (v *Verifier) Scored(now Time, s Segment, choices []Choice, ratio float64) (Commit, error) {
	v.busy = false
	if s.Prefill {
		v.held = s.Start + len(s.Tokens)
		v.usage.Prefilled += len(s.Tokens)
		return Commit{Start: len(v.log)}, nil
	}
	if len(choices) != len(s.Tokens) {
		return Commit{}, fmt.Errorf("model returned %d choices for %d rows", len(choices), len(s.Tokens))
	}
	if v.finish != NotFinished {
		return Commit{Start: len(v.log)}, nil
	}
	c := Commit{Start: len(v.log), JudgedNode: s.judged, Heard: v.heard, Age: now - v.heardAt}
	row, rows, own := 0, []int32{0}, 0
	for {
		t := choices[row].Token
		child, any := s.child(row, t)
		if child > 0 && choices[row].Lenient {
			v.usage.Lenient++
		}
		fate := Bonus
		switch {
		case s.own(child):
			own++
			fate = RunAhead
		case child > 0:
			fate = Accepted
		case len(s.Tokens) == 1+s.Own || s.own(row):
			fate = RunAhead
		case any:
			fate = Correction
		}
		v.commit(&c, choices[row], fate)
		if child < 0 || v.finish != NotFinished {
			break
		}
		row = child
		rows = append(rows, int32(row))
	}
	v.save(now-v.offered, s, v.account(s, c, own, ratio), ratio)
	v.held = s.Start + len(rows)
	if s.Parents != nil {
		v.keep = rows
	}
	v.committed, v.answered = now, false
	v.end(&c)
	return c, nil
}

// commit appends one token and moves the nodes along.
func (v *Verifier) commit(c *Commit, chosen Choice, f Fate) {
	t := chosen.Token
	c.Tokens, c.Fates = append(c.Tokens, t), append(c.Fates, f)
	if chosen.Logprobs != nil {
		c.Logprobs = append(c.Logprobs, chosen.Logprobs)
	}
	v.tokens++
	if v.push(t, f, chosen.Logprobs); v.finish != NotFinished {
		return
	}
	late, stale := v.nodes.advance(t)
	v.usage.Late += late
	v.usage.Stale += stale
}

// own says whether a row is one of the cloud's own proposals.
func (s *Segment) own(row int) bool { return row >= len(s.Tokens)-s.Own }

// child returns the row that follows row with token t, or -1, and whether an edge's node follows row.
func (s *Segment) child(row int, t Token) (int, bool) {
	if s.Parents == nil {
		if row+1 >= len(s.Tokens) {
			return -1, false
		}
		if s.Tokens[row+1] == t {
			return row + 1, true
		}
		return -1, !s.own(row + 1)
	}
	any := false
	for i := row + 1; i < len(s.Tokens); i++ {
		if int(s.Parents[i]) == row {
			any = any || !s.own(i)
			if s.Tokens[i] == t {
				return i, true
			}
		}
	}
	return -1, any
}

// account updates counters, scoring credit and trust, and returns how many proposals held, own ones
// included.
func (v *Verifier) account(s Segment, c Commit, own int, ratio float64) int {
	scored, accepted := len(s.Tokens)-1-s.Own, 0
	for _, f := range c.Fates {
		if f == Accepted {
			accepted++
		}
	}
	v.passes++
	v.usage.Passes++
	v.usage.Positions += len(s.Tokens)
	v.usage.Judged += scored
	v.usage.Accepted += accepted
	if scored > 0 {
		v.usage.ScoringPasses++
	}
	v.usage.OwnJudged += s.Own
	v.usage.OwnAccepted += own
	v.trust.observe(scored, accepted, s.promise)
	v.ownTrust.observe(s.Own, own, s.hope)
	accepted += own
	scored += s.Own
	v.earned = min(1e6, v.earned+ratio*(0.02+1.02*float64(accepted))-float64(scored))
	return accepted
}

// end fills in what the last commit carries.
func (v *Verifier) end(c *Commit) {
	if c.Finish = v.finish; v.finish != NotFinished {
		c.Usage = v.usage
	}
}

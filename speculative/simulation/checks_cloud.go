package simulation

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// i2ScoredAgrees: every node of a segment continues the log.
func (s *Sim) i2ScoredAgrees(x *session, g *speculative.Segment) {
	c := &x.cloud
	log := c.v.Log()
	if g.Prefill {
		if !slices.Equal(g.Tokens, log[g.Start:g.Start+len(g.Tokens)]) {
			s.violate("I2", x, "prompt chunk %v at %d is not the log's", g.Tokens, g.Start)
		}
		return
	}
	if g.Start != len(log)-1 || g.Tokens[0] != log[len(log)-1] {
		s.violate("I2", x, "segment at %d begins with %d, the log has %d tokens", g.Start, g.Tokens[0], len(log))
		return
	}
	_, live := c.known.live(log)
	hashes := make([]hash, len(g.Tokens))
	for i, t := range g.Tokens[1:] {
		parent := i
		if g.Parents != nil {
			parent = int(g.Parents[i+1])
		}
		if parent < 0 || parent > i {
			s.violate("I2", x, "row %d has parent %d", i+1, parent)
			return
		}
		hashes[i+1] = hashes[parent].push(t)
		if own := len(g.Tokens) - g.Own; i+1 >= own {
			s.i2Own(x, g, i+1, parent, hashes[i+1], live)
			continue
		}
		if !slices.Contains(live, hashes[i+1]) {
			s.violate("I2", x, "row %d (token %d) is no live node", i+1, t)
		}
	}
}

// i2Own: the cloud's own proposals are what its source says, one after the other behind the likeliest
// path; none is an edge's node that waits, nor behind the end.
func (s *Sim) i2Own(x *session, g *speculative.Segment, row, parent int, h hash, live []hash) {
	first := len(g.Tokens) - g.Own
	if row > first && parent != row-1 {
		s.violate("I2", x, "own row %d follows row %d", row, parent)
		return
	}
	path := []Token{}
	for p := parent; p > 0; {
		path = append(path, g.Tokens[p])
		if p--; g.Parents != nil {
			p = int(g.Parents[p+1])
		}
	}
	slices.Reverse(path)
	log := x.cloud.v.Log()
	want, ok := x.world.own(log, path)
	if !ok || want.Token != g.Tokens[row] || slices.Contains(live, h) {
		s.violate("I2", x, "own row %d is %d after %v, the source says %d %t", row, g.Tokens[row], path, want.Token, ok)
	}
	if len(log)+len(path) >= x.cloud.config.Ending.MaxLength {
		s.violate("I2", x, "own row %d is behind the end", row)
	}
}

// i4Step: a step stays within its limits.
func (s *Sim) i4Step(bids []speculative.Bid, grants []speculative.Grant) {
	rows, prompt, l := 0, 0, s.c.Limits
	seen := map[int]bool{}
	for _, g := range grants {
		if seen[g.Bid] || g.N < 0 {
			s.violate("I4", nil, "bid %d is granted twice or %d rows", g.Bid, g.N)
		}
		seen[g.Bid] = true
		if bids[g.Bid].Prefill > 0 {
			prompt += g.N
		} else {
			rows += 1 + g.N
		}
	}
	if rows+prompt > l.Positions || (l.Sequences > 0 && len(grants) > l.Sequences) ||
		(rows > 0 && l.Prefill > 0 && prompt > l.Prefill) {
		s.violate("I4", nil, "a step of %d sequences, %d rows and %d prompt rows, the limits are %+v", len(grants), rows, prompt, l)
	}
}

// i4Credit: commits stay within the credit beyond what the edge has acknowledged.
func (s *Sim) i4Credit(x *session) {
	c := &x.cloud
	if n := len(c.v.Log()) - c.acked; n > c.credit() && c.parked == nil && c.open {
		s.violate("I4", x, "%d tokens beyond the acknowledgement, the credit is %d", n, c.credit())
	}
}

func (c *cloud) credit() int {
	if c.config.Credit == 0 {
		return speculative.DefaultCredit
	}
	return max(c.config.Credit, speculative.AckEvery)
}

// i5Progress: every session finishes.
func (s *Sim) i5Progress() {
	for _, x := range s.sessions {
		if !x.edge.over {
			s.violate("I5", x, "not finished: %d of %d tokens after %d events", len(x.edge.p.Log()), len(x.want), s.result.Events)
		}
	}
}

// i5Fair: once a session is behind its pace, only others that are behind as well go before it.
func (s *Sim) i5Fair(bids []speculative.Bid, who []*session, grants []speculative.Grant) {
	l := s.c.Limits
	places := max(1, l.Positions/2)
	if l.Sequences > 0 {
		places = min(places, max(1, l.Sequences-1))
	}
	step := s.c.Cost.Step + time.Duration(l.Positions)*s.c.Cost.Position + time.Duration(len(s.sessions))*s.c.Cost.Sequence
	longest := s.c.FairWait + time.Duration(3+2*len(s.sessions)/places)*step
	granted := map[int]bool{}
	for _, g := range grants {
		granted[g.Bid] = true
	}
	for i, b := range bids {
		if waited := s.now - max(who[i].cloud.ready, who[i].cloud.served); !granted[i] && b.Prefill == 0 && waited > longest {
			s.violate("I5", who[i], "has waited %v for a step, %v at most", waited, longest)
		}
	}
}

// i7Pending: the pending set equals the naive one, within the window.
func (s *Sim) i7Pending(x *session) {
	c := &x.cloud
	if c.v.Finished() != speculative.NotFinished || !c.open {
		return
	}
	want, _ := c.known.live(c.v.Log())
	if got := c.v.Waiting(); !slices.Equal(got, want) {
		s.violate("I7", x, "nodes %v of epoch %d wait, by recomputation %v", got, c.known.epoch, want)
	}
	if n := c.v.Pending(); n > cloudWindow(c.config) {
		s.violate("I4", x, "%d nodes wait, the window is %d", n, cloudWindow(c.config))
	}
}

// i8Proposal: a proposal faults the stream if and only if it breaks a rule, and an honest one never does.
func (s *Sim) i8Proposal(x *session, m upMessage, answer verdict, err error) {
	if err != nil && !errors.Is(err, speculative.ErrProtocol) {
		s.violate("I8", x, "%v is no protocol error", err)
	}
	switch {
	case answer == malformed && err == nil:
		s.violate("I8", x, "malformed, but accepted: %+v", *m.propose)
	case answer == wellFormed && err != nil:
		s.violate("I8", x, "well formed, but refused: %v", err)
	case answer == malformed:
		s.result.Seen.Malformed++
	}
	if err != nil && s.c.Faults.Hostile == 0 {
		s.violate("I8", x, "an honest run raised a fault: %v", err)
	}
}

// i8Ack is i8Proposal for acknowledgements.
func (s *Sim) i8Ack(x *session, n int, err error) {
	if bad := n < 0 || n > len(x.cloud.v.Log()); bad != (err != nil) || (bad && s.c.Faults.Hostile == 0) {
		s.violate("I8", x, "ack %d with %d committed: %v", n, len(x.cloud.v.Log()), err)
	}
}

// i9Pass: no pass after end, cancel or fencing, or without credit; and what is offered is what waits.
func (s *Sim) i9Pass(x *session, b speculative.Bid, g speculative.Grant) {
	c := &x.cloud
	room := c.acked + c.credit() - len(c.v.Log())
	switch {
	case c.cancelled || c.v.Finished() != speculative.NotFinished:
		s.violate("I9", x, "a pass after the end")
	case !c.open || c.parked != nil || c.busy:
		s.violate("I9", x, "a pass for a fenced or busy session")
	case room < 1:
		s.violate("I9", x, "a pass without credit")
	case b.Prefill > 0:
		return
	case g.N > len(b.Values)+len(b.Own):
		s.violate("I9", x, "%d nodes granted of %d", g.N, len(b.Values))
	}
	waiting, _ := c.known.live(c.v.Log())
	want := min(len(waiting)-c.beyondEnd(), max(0, int(c.earned+0.02*s.c.Cost.Ratio())), room-1)
	if n := len(b.Values); n != want && !(s.c.Cloud.Chains && n <= want && (n > 0) == (want > 0)) {
		s.violate("I9", x, "%d nodes offered, %d wait, %.1f earned, room %d", len(b.Values), len(waiting), c.earned, room)
	}
	if n := len(b.Values) + len(b.Own); len(b.Own) > 0 && (n > max(0, int(c.earned+0.02*s.c.Cost.Ratio())) || n > room-1) {
		s.violate("I9", x, "%d own proposals with %d nodes, %.1f earned, room %d", len(b.Own), len(b.Values), c.earned, room)
	}
	if !slices.IsSortedFunc(b.Values, func(a, b float64) int { return cmp.Compare(b, a) }) {
		s.violate("I9", x, "values %v do not fall", b.Values)
	}
}

// beyondEnd counts waiting nodes that lie behind the session's end.
func (c *cloud) beyondEnd() (n int) {
	numbers, _ := c.known.live(c.v.Log())
	for _, i := range numbers {
		position := c.known.epoch
		for p := c.known.nodes[i].parent; p >= 0; p = c.known.nodes[p].parent {
			position++
		}
		if position >= c.config.Ending.MaxLength {
			n++
		}
	}
	return n
}

// i9Plan: a node that waits is scored when there is room and it is worth more than the step's average.
func (s *Sim) i9Plan(bids []speculative.Bid, grants []speculative.Grant) {
	left, tokens, cost := s.c.Limits.Positions, 0.0, float64(s.c.Cost.Step)
	for _, g := range grants {
		if bids[g.Bid].Prefill > 0 {
			return // rows are kept for prompts
		}
		left -= 1 + g.N
		tokens++
		for _, v := range bids[g.Bid].Values[:min(g.N, len(bids[g.Bid].Values))] {
			tokens += v
		}
		cost += float64(s.c.Cost.Sequence) + float64(1+min(g.N, len(bids[g.Bid].Values)))*float64(s.c.Cost.Position)
	}
	for _, b := range bids {
		if l := s.c.Limits; b.Prefill > 0 { // and no prompt chunk was granted
			if l.Positions > 1 && l.Prefill > 0 && l.Sequences != 1 {
				s.violate("I5", nil, "a prompt waits while %d others are served", len(grants))
			}
			return
		}
	}
	for _, g := range grants {
		if g.N > len(bids[g.Bid].Values) && left < s.c.Limits.Positions/2 {
			s.violate("I9", nil, "own proposals are granted, %d rows of %d are left", left, s.c.Limits.Positions)
		}
		if v := bids[g.Bid].Values; left > 0 && g.N < len(v) && v[g.N]*cost > tokens*float64(s.c.Cost.Position)*(1+1e-9) {
			s.violate("I9", nil, "a node worth %.3f waits, the step yields %.3f for %.0f", v[g.N], tokens, cost)
		}
	}
}

// i9OutOfCredit: a session that has nothing to run and waits for no time has no credit.
func (s *Sim) i9OutOfCredit(x *session) {
	if c := &x.cloud; c.acked+c.credit()-len(c.v.Log()) >= 1 {
		s.violate("I9", x, "nothing to run with %d committed and %d acknowledged", len(c.v.Log()), c.acked)
	}
}

// i10Judged: a step commits the accepted nodes and one token more, with the right fates, unless the
// session ends in it.
func (s *Sim) i10Judged(x *session, sh *share, m speculative.Commit) {
	c := &x.cloud
	if sh.segment.Prefill || c.cancelled {
		if len(m.Tokens) > 0 {
			s.violate("I10", x, "a commit of %v from a prompt chunk or after cancel", m.Tokens)
		}
		return
	}
	tokens, fates := judge(&sh.segment, sh.choices)
	accepted := 0
	for i, f := range m.Fates {
		switch f {
		case speculative.Accepted:
			accepted++
			s.result.Seen.Accepted++
		case speculative.Correction:
			s.result.Seen.Corrections++
		case speculative.Bonus:
			s.result.Seen.Bonuses++
		case speculative.RunAhead:
			s.result.Seen.RunAheads++
		}
		if i >= len(fates) || fates[i] != f || tokens[i] != m.Tokens[i] {
			s.violate("I10", x, "commit %v %v, want %v %v", m.Tokens, m.Fates, tokens, fates)
			return
		}
	}
	own := c.v.Usage().OwnAccepted - c.ownAccepted
	c.ownAccepted = c.v.Usage().OwnAccepted
	s.seenOwn(sh, own)
	accepted += own
	if m.Finish == speculative.NotFinished && (len(m.Tokens) != accepted+1 || len(m.Tokens) != len(tokens)) {
		s.violate("I10", x, "%d committed, %d accepted", len(m.Tokens), accepted)
	}
	if m.Start+len(m.Tokens) != len(c.v.Log()) || m.JudgedNode != sh.known {
		s.violate("I10", x, "commit at %d of %d, the log has %d; %d nodes judged of %d", m.Start, len(m.Tokens), len(c.v.Log()), m.JudgedNode, sh.known)
	}
	if m.Finish == speculative.NotFinished && c.v.Held() != len(c.v.Log())-1 {
		s.violate("I10", x, "the model is thought to hold %d rows of %d", c.v.Held(), len(c.v.Log()))
	}
	c.earned = min(1e6, c.earned+s.c.Cost.Ratio()*(0.02+1.02*float64(accepted))-float64(len(sh.segment.Tokens)-1))
}

func (s *Sim) seenOwn(sh *share, accepted int) {
	if n := sh.segment.Own; n > 0 {
		s.result.Seen.Own += n
		s.result.Seen.OwnAccepted += accepted
		if len(sh.segment.Tokens) > 1+n {
			s.result.Seen.Mixed++
		}
	}
}

// lateNodes counts the waiting nodes that the last step overtook: they agree with what it committed
// and were not scored in it.
func (c *cloud) lateNodes(before []hash, sh *share, tokens []Token) (n int) {
	edge := len(sh.segment.Tokens) - sh.segment.Own
	scored := make([]hash, edge)
	for i, t := range sh.segment.Tokens[1:edge] {
		parent := i
		if sh.segment.Parents != nil {
			parent = int(sh.segment.Parents[i+1])
		}
		scored[i+1] = scored[parent].push(t)
	}
	h := hash(0)
	for _, t := range tokens {
		h = h.push(t)
		if slices.Contains(before, h) && !slices.Contains(scored[1:], h) {
			n++
		}
	}
	return n
}

// counts: every node that arrived was judged, late or stale, or still waits.
func (s *Sim) counts(x *session) {
	c := &x.cloud
	if s.c.Faults.Hostile > 0 || c.v.Finished() != speculative.NotFinished || c.parked != nil || !c.open {
		return
	}
	u := c.v.Usage()
	if s.c.Faults.Duplicate == 0 && !c.uncounted && u.Drafted != u.Judged+u.Late+u.Stale+len(c.v.Waiting())+c.unsettled {
		s.violate("counts", x, "%+v with %d waiting, %d given up", u, len(c.v.Waiting()), c.unsettled)
	}
	if u.Accepted > u.Judged || u.Passes < u.ScoringPasses || u.Positions < u.Passes+u.Judged {
		s.violate("counts", x, "%+v", u)
	}
}

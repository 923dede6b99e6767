package simulate

import (
	"context"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/speculative"
)

// Session says how one session went.
type Session struct {
	Begun, First, Done time.Duration // Done: the client has the last token; 0: cut off by the horizon
	Tokens             int           // that the client has
	Usage              speculative.Usage
	Sent               int // nodes
	Uplink             int // bytes of Propose and Ack messages
	Messages           int // of these
	Drafted            int
}

// Outcome of a run.
type Outcome struct {
	Sessions []Session
	Steps    int           // of the target
	Busy     time.Duration // that the target was stepping
	End      time.Duration
}

// sim is one run of the core on the virtual clock.
type sim struct {
	c        Config
	now      speculative.Time
	queue    queue
	sessions []*session
	marked   []*session // whose offer may have changed, or who wait for a step
	stepping bool
	out      Outcome
	table    []float64
}

// session is one generation: both its halves and its link.
type session struct {
	id     int
	begun  speculative.Time
	prompt int
	tokens int
	pair   pair

	p    *speculative.Proposer
	wake speculative.Time

	up, down         *link.Lane
	upFlow, downFlow link.Flow

	v        *speculative.Verifier
	packer   speculative.Packer
	unpacker speculative.Unpacker
	busy     bool
	marked   bool
	served   speculative.Time
	ready    speculative.Time
	timer    speculative.Time

	r Session
}

// Run simulates until every session is done or the horizon is reached. Errors wrap ErrConfig, or are
// the context's.
func Run(ctx context.Context, c Config) (Outcome, error) {
	if err := c.validate(); err != nil {
		return Outcome{}, err
	}
	c = c.settle()
	switch c.Strategy {
	case Synchronous:
		return synchronous(c), nil
	case Colocated:
		return colocated(c), nil
	}
	s := &sim{c: c, table: mock.Beta(c.Model.Agreement, c.Model.Spread)}
	s.plan()
	for n := 0; len(s.queue.events) > 0; n++ {
		if n&0xfff == 0 && ctx.Err() != nil {
			return Outcome{}, ctx.Err()
		}
		e := s.queue.next()
		if c.Horizon > 0 && e.at > c.Horizon {
			s.now = c.Horizon
			break
		}
		s.now = e.at
		e.do()
	}
	s.out.End = s.now
	for _, x := range s.sessions {
		x.finish()
		s.out.Sessions = append(s.out.Sessions, x.r)
	}
	return s.out, nil
}

// plan puts the sessions' beginnings on the time line.
func (s *sim) plan() {
	add := func(at time.Duration, prompt, tokens int) {
		x := &session{id: len(s.sessions), begun: at, prompt: prompt, tokens: tokens}
		x.packer.Bits, x.unpacker = speculative.TokenBits(vocabulary), speculative.Unpacker{Bits: speculative.TokenBits(vocabulary), Window: speculative.DefaultWindow}
		x.pair = pair{seed: mix(s.c.Seed+1, uint64(x.id)), m: &s.c.Model, table: s.table, oracle: s.c.Strategy == Oracle, prompt: prompt}
		x.r.Begun = at
		way := s.c.Link
		way.Seed = x.pair.seed
		x.up, x.down = way.Lanes()
		s.sessions = append(s.sessions, x)
		s.queue.add(at, func() { s.begin(x) })
	}
	for _, a := range s.c.Arrivals {
		add(a.At, a.Prompt, a.Tokens)
	}
	if len(s.c.Arrivals) > 0 {
		return
	}
	for i := range s.c.Sessions {
		add(s.c.Spread/time.Duration(s.c.Sessions)*time.Duration(i), s.c.Prompt, s.c.Tokens)
	}
}

func (s *sim) begin(x *session) {
	length := 0
	if x.tokens > 0 {
		length = x.prompt + x.tokens
	}
	prompt := make([]Token, x.prompt)
	for i := range prompt {
		prompt[i] = x.pair.target(i)
	}
	x.p = speculative.NewProposer(speculative.ProposerConfig{MaxLength: length, Window: s.c.Window, MinPath: s.c.MinPath, Worth: s.c.Objective.Aims().Worth,
		Depth: s.c.Depth, Gap: s.c.Gap, Branches: s.c.Branches, Thrifty: s.c.Thrifty}, prompt)
	x.p.LinkUp(0)
	s.up(x, 0, func() {
		x.v = speculative.NewVerifier(speculative.VerifierConfig{PromptLength: x.prompt, Window: s.c.Window,
			Ending: speculative.Ending{MaxLength: length}, MaxPassesPerToken: s.c.RunAhead, Patience: s.c.Objective.Aims().Patience}, prompt)
		x.served = s.now
		s.mark(x)
	})
	s.pump(x)
}

// up carries a message of so many bytes to the cloud, in order.
func (s *sim) up(x *session, bytes int, do func()) {
	s.queue.add(x.up.Deliver(&x.upFlow, bytes+frameBytes, s.now), func() {
		if x.r.Done == 0 {
			do()
		}
	})
}

// frameBytes is what HTTP/2 and gRPC put around a message.
const frameBytes = 9 + 5

// commitBytes is what a commit of so many tokens takes on the wire, frames included.
func commitBytes(tokens int) int { return frameBytes + 20 + 4*tokens }

// pump does what the Proposer asks for.
func (s *sim) pump(x *session) {
	if x.r.Done != 0 {
		return
	}
	r := x.p.Ready(s.now)
	if r.Draft != nil {
		s.draft(x, r.Draft)
	}
	if r.Ack > 0 {
		n := r.Ack
		s.count(x, ackBytes(n), func() { _ = x.v.Ack(n) })
	}
	if m := r.Send; m != nil {
		data, ok := x.packer.Pack(m)
		if !ok {
			panic("an honest proposal cannot be packed") // the core would be broken
		}
		s.count(x, len(data)+packedHeader, func() { x.deliver(s.now, data) })
	}
	if r.Wake > 0 && (x.wake <= s.now || r.Wake < x.wake) {
		x.wake = r.Wake
		s.queue.add(r.Wake, func() { s.pump(x) })
	}
}

func (s *sim) count(x *session, bytes int, do func()) {
	x.r.Uplink += bytes
	x.r.Messages++
	s.up(x, bytes, func() { do(); s.mark(x) })
}

func (s *sim) draft(x *session, w *speculative.Work) {
	log := x.p.Log()
	pos, last, onPath := len(log)+len(w.Path), log[len(log)-1], true
	for i, t := range w.Path {
		onPath = onPath && t == x.pair.target(len(log)+i)
		last = t
	}
	s.queue.add(s.now+s.c.Model.Draft, func() {
		if x.r.Done == 0 {
			x.p.Drafted(w.ID, x.pair.draft(pos, last, onPath), s.c.Model.Draft)
			s.pump(x)
		}
	})
}

// commit carries a commit down.
func (s *sim) commit(x *session, m speculative.Commit) {
	s.queue.add(x.down.Deliver(&x.downFlow, commitBytes(len(m.Tokens)), s.now), func() {
		if x.r.Done != 0 {
			return
		}
		if err := x.p.Commit(m); err != nil {
			panic(err) // the core would be broken: its own simulation checks this
		}
		if x.r.Tokens == 0 {
			x.r.First = s.now
		}
		if x.r.Tokens += len(m.Tokens); x.p.Finished() != speculative.NotFinished {
			x.r.Done = s.now
			x.finish()
			return
		}
		s.pump(x)
	})
}

// packedHeader is the tag and the length of a packed proposal.
const packedHeader = 2

func (x *session) deliver(now speculative.Time, data []byte) {
	m, err := x.unpacker.Unpack(data)
	if err == nil {
		err = x.v.Propose(now, m)
	}
	if err != nil {
		panic(err) // as above
	}
}

// finish notes the counters and lets the memory go.
func (x *session) finish() {
	if x.v == nil || x.p == nil {
		return
	}
	x.r.Usage, x.r.Sent, x.r.Drafted = x.v.Usage(), x.p.Stats().Sent, x.p.Stats().Drafted
	x.p, x.v = nil, nil
}

// mark lets the next step look at a session.
func (s *sim) mark(x *session) {
	if !x.marked && x.v != nil && !x.busy {
		x.marked = true
		s.marked = append(s.marked, x)
	}
	s.step()
}

// step begins the next step of the target when there is something to run.
func (s *sim) step() {
	if s.stepping {
		return
	}
	bids, who := s.bids()
	if len(bids) == 0 {
		return
	}
	took := s.c.Model.Target.Step
	type share struct {
		x   *session
		seg speculative.Segment
	}
	var shares []share
	for _, g := range speculative.Plan(bids, s.c.Limits, s.c.Model.Target) {
		x := who[g.Bid]
		seg := x.v.Begin(g.N)
		shares = append(shares, share{x, seg})
		x.busy, x.marked, x.served = true, false, s.now
		took += s.c.Model.Target.Sequence + s.c.Model.Target.Position*time.Duration(len(seg.Tokens))
	}
	s.marked = slices.DeleteFunc(s.marked, func(x *session) bool { return !x.marked })
	s.stepping = true
	s.out.Steps++
	s.out.Busy += took
	s.queue.add(s.now+took, func() {
		s.stepping = false
		for _, sh := range shares {
			s.scored(sh.x, sh.seg, took)
		}
		s.step()
	})
}

// bids collects the offers of the marked sessions; those that have none lose the mark.
func (s *sim) bids() (bids []speculative.Bid, who []*session) {
	keep := s.marked[:0]
	for _, x := range s.marked {
		if x.v == nil {
			continue
		}
		o := x.v.Offer(s.now, s.c.Model.Target.Ratio())
		if !o.Ready {
			x.marked, x.ready = false, 0
			if o.Wake > s.now && x.timer != o.Wake {
				x.timer = o.Wake
				s.queue.add(o.Wake, func() { s.mark(x) })
			}
			continue
		}
		if x.ready == 0 {
			x.ready = s.now
		}
		keep = append(keep, x)
		bids = append(bids, speculative.Bid{Offer: o, Since: x.served, Behind: s.behind(x)})
		who = append(who, x)
	}
	s.marked = keep
	return bids, who
}

// behind says whether a session has waited too long or got less than its pace.
func (s *sim) behind(x *session) bool {
	if s.now-max(x.ready, x.served) > s.c.FairWait {
		return true
	}
	got := len(x.v.Log()) - x.prompt
	return s.c.Pace > 0 && float64(got) < s.c.Pace*(s.now-x.begun-s.c.Link.RTT/2).Seconds()
}

func (s *sim) scored(x *session, seg speculative.Segment, took time.Duration) {
	x.busy = false
	if x.v == nil {
		return
	}
	m, err := x.v.Scored(s.now, seg, x.pair.choices(seg), s.c.Model.Target.Ratio())
	m.Score = took
	if err != nil {
		panic(err) // as above
	}
	if len(m.Tokens) > 0 {
		s.commit(x, m)
	}
	if m.Finish == speculative.NotFinished && !x.marked {
		x.marked, x.ready = true, 0
		s.marked = append(s.marked, x)
	}
}

// choices are the target's after each row of a segment; off the log's path any will do.
func (p *pair) choices(seg speculative.Segment) []speculative.Choice {
	out := make([]speculative.Choice, len(seg.Tokens))
	pos := make([]int, len(seg.Tokens))
	for i := range out {
		switch {
		case i == 0:
			pos[i] = seg.Start
		case seg.Parents == nil:
			pos[i] = pos[i-1] + 1
		default:
			pos[i] = pos[seg.Parents[i]] + 1
		}
		out[i].Token = p.target(pos[i] + 1)
	}
	return out
}

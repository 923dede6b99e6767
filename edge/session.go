package edge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// session is one generation. Its goroutine (run) owns everything in it; it never blocks but in its
// select.
type session struct {
	e        *Edge
	r        Request
	route    *route
	voc      *vocabulary
	prompt   []Token
	ends     []Token
	fallback Fallback
	began    time.Time
	request  string          // its id, for logs and traces
	ctx      context.Context // of the request
	p        *speculative.Proposer
	pc       speculative.ProposerConfig // of p
	out      *output
	events   chan Event // to Generate, which hands them to the caller
	sum      Summary

	// The draft. nil: none.
	d       *drafter
	dctx    context.Context // of its jobs
	dcancel context.CancelFunc
	jobs    int         // under way
	told    int         // length of the log that the drafter knows
	alone   *aloneState // set once the draft finishes alone
	look    *source     // of proposals besides the draft's; nil: none
	begun   *draftText  // what the draft wrote before the cloud took over; nil: it did not
	review  *review     // what of it was given out and is not confirmed; nil: none

	// The link.
	id       [16]byte
	opened   int // streams, so far
	owner    owner
	key      []byte        // of the user, nil: nothing is kept
	named    int           // leading tokens that this stream's Open did not send
	whole    bool          // the next Open sends all: what the last one named was not known
	keepFor  time.Duration // the cloud keeps the log of the finished session for as long; 0: not at all
	st       *stream
	linked   bool
	heard    bool // this stream brought a commit
	packer   speculative.Packer
	failures int // streams without one, in a row
	openAt   time.Duration
	lostAt   time.Duration // when the cloud went out of reach
	lastErr  error         // why the last stream ended

	finished bool
	inexact  bool // whatever becomes of unverified tokens
	passes   passTimes
	accepts  telemetry.Acceptance
	err      error
	joules   float64 // of the device when it began
	emitErr  error   // of the caller; not the session goroutine's
}

func (s *session) now() time.Duration { return time.Since(s.began) }

// Tokens that the caller has not taken yet before no more commits are read: the cloud then runs out
// of credit and waits.
const maxUntaken = 64

// run is the session's goroutine.
func (s *session) run(ctx context.Context) {
	defer close(s.events)
	defer s.unlink()
	s.ctx = ctx
	s.dctx, s.dcancel = context.WithCancel(ctx)
	if s.d != nil {
		s.e.wg.Go(s.d.run)
		defer close(s.d.jobs)
	}
	if s.route.Where == OnDevice {
		s.beginOnDevice()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.finished {
		wake := s.act()
		if s.finished {
			break
		}
		timer.Reset(max(0, wake-s.now()))
		s.wait(timer)
	}
	s.leave()
	s.keep()
	s.remember()
}

// wait takes one event.
func (s *session) wait(timer *time.Timer) {
	var in <-chan streamEvent
	if s.st != nil && len(s.out.next.Tokens) < maxUntaken {
		in = s.st.in
	}
	var drafted <-chan draftResult
	var written <-chan speculative.Choice
	if s.d != nil {
		drafted = s.d.results
		if s.alone != nil && s.alone.started && len(s.out.next.Tokens) < maxUntaken {
			written = s.d.written
		}
	}
	var events chan<- Event
	if s.out.dirty {
		events, s.out.next.Progress = s.events, s.progress()
	}
	select {
	case <-s.ctx.Done():
		s.end(speculative.FinishCancelled, context.Cause(s.ctx))
	case e, ok := <-in:
		if !ok {
			s.lost(s.st.err)
			break
		}
		s.received(e)
	case r := <-drafted:
		s.drafted(r)
	case t := <-written:
		s.written(t)
	case events <- s.out.next:
		s.out.taken()
	case <-timer.C:
	}
}

// end finishes the session; the first call counts.
func (s *session) end(why speculative.Finish, err error) {
	if s.finished {
		return
	}
	s.finished, s.sum.Finish, s.err = true, why, err
	s.sum.Usage = s.p.Usage()
	s.sum.Routing = s.route.Routing
	s.outcome()
	s.sum.Total = s.now()
}

// act does what the time and the proposer ask for, and returns when to do so again.
func (s *session) act() time.Duration {
	now := s.now()
	wake := now + time.Minute
	if at, ok := s.deadline(now); ok {
		wake = min(wake, at)
	}
	if s.finished {
		return wake
	}
	if s.alone != nil {
		return min(wake, s.seek(now))
	}
	if !s.linked {
		if _, shut := s.e.link.gate.shut(); shut && s.fallback == FallbackDraft {
			s.outOfReach()
			return now
		}
		if after := s.patience(); after > 0 {
			if now >= s.lostAt+after {
				s.outOfReach()
				return now
			}
			wake = min(wake, s.lostAt+after)
		}
	}
	if s.st == nil {
		if now >= s.openAt {
			s.open()
		} else {
			wake = min(wake, s.openAt)
		}
	}
	s.guess()
	r := s.p.Ready(now)
	if r.Draft != nil {
		s.draft(draftJob{ctx: s.dctx, work: *r.Draft})
	}
	if r.Ack > 0 {
		m := &outriderv1.Ack{Committed: uint32(r.Ack)}
		s.send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Ack{Ack: m}})
	}
	if r.Send != nil {
		s.propose(r.Send)
	}
	if r.Wake > 0 {
		wake = min(wake, r.Wake)
	}
	if s.st == nil {
		wake = min(wake, s.openAt)
	}
	return wake
}

// propose sends a proposal, packed where the cloud reads that.
func (s *session) propose(p *speculative.Propose) {
	if data, ok := s.packer.Pack(p); ok {
		s.send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Packed{Packed: data}})
		return
	}
	s.packer.Note(p)
	m := proposeToProto(p)
	s.send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Propose{Propose: m}})
}

func (s *session) send(m *outriderv1.DecodeRequest) {
	if s.st == nil {
		return
	}
	size := proto.Size(m)
	s.sum.Uplink += size
	s.e.c.Metrics.up.Add(float64(size))
	if !s.st.put(m) {
		s.lost(errOverflow)
	}
}

// draft hands the drafter a job.
func (s *session) draft(j draftJob) {
	log := s.p.Log()
	j.tail = slices.Clone(log[s.told:])
	s.told, s.jobs = len(log), s.jobs+1
	s.d.jobs <- j // has room: one job at a time
}

// drafted takes the outcome of a job.
func (s *session) drafted(r draftResult) {
	s.jobs--
	switch {
	case s.alone != nil:
		s.aloneDone(r)
		return
	case r.finished: // the draft had to stop writing
		return
	case r.ok:
		s.p.Drafted(r.id, s.voc.proposable(r.choice), r.took)
		s.sum.DraftHeld = max(s.sum.DraftHeld, r.reused)
		s.sum.Drafted++
		if j := s.route.judge; j != nil && s.begun == nil {
			j.confidence.Add(float64(r.choice.Confidence))
		}
	case r.off: // the work is never given back, so no more is asked for
		s.e.c.Logger.Warn("the draft is out of use, the target goes on alone", "request", s.request, "error", r.err)
	default:
		s.p.DraftFailed(r.id)
	}
	s.expect()
}

func (s *session) expect() {
	if s.r.Pending {
		s.out.expect(s.p.Pending())
	}
}

// received takes what the stream tells.
func (s *session) received(e streamEvent) {
	switch {
	case e.opened != nil:
		s.up(e.opened)
	case e.commit != nil:
		s.commit(e.commit)
	}
}

// commit applies a commit and gives its tokens out.
func (s *session) commit(m *outriderv1.Commit) {
	size := proto.Size(m)
	s.sum.Downlink += size
	s.e.c.Metrics.down.Add(float64(size))
	c, err := commitFromProto(m)
	had, known := len(s.p.Log()), len(s.p.Fates())
	if err == nil && !s.linked {
		err = fmt.Errorf("%w: commit before opened", speculative.ErrProtocol)
	}
	if n := s.r.MaxTokens; err == nil && n > 0 && c.Start+len(c.Tokens) > len(s.prompt)+n {
		err = fmt.Errorf("%w: commit up to %d, %d were asked for", speculative.ErrProtocol, c.Start+len(c.Tokens), len(s.prompt)+n)
	}
	if err == nil {
		err = s.p.Commit(c)
	}
	if err != nil {
		s.st.cancel()
		s.end(speculative.NotFinished, fmt.Errorf("%w: %s does not keep to the protocol: %w: use edge and cloud of one version",
			ErrRefused, s.e.c.Cloud, err))
		return
	}
	s.heard, s.failures = true, 0
	s.observe(c)
	f := s.p.Fates()[known:]
	for i, t := range s.p.Log()[had:] {
		s.settle(had+i, t)
		s.compare(had+i, t)
		if s.review.rest(had+i) != nil {
			if !s.judged(had+i, t) {
				s.part(had + i)
				return
			}
			continue
		}
		t := GeneratedToken{ID: t, Fate: f[i].Fate, Late: f[i].Late}
		if at := had + i - c.Start; c.Logprobs != nil {
			t.tell(c.Logprobs[at])
		}
		s.give(t)
	}
	if why := s.p.Finished(); why != speculative.NotFinished {
		s.end(why, nil)
		return
	}
	s.expect()
}

// observe takes note of how a pass went.
func (s *session) observe(c speculative.Commit) {
	s.passes.add(c)
	s.e.c.Metrics.commit(c)
	if c.Load == 0 {
		return // several passes in one, after a resume
	}
	s.e.seen.commit(c)
	s.e.link.gate.waited(c.Queue)
	accepted := 0
	for _, f := range c.Fates {
		if f == speculative.Accepted {
			accepted++
		}
	}
	s.accepts.Pass(accepted)
}

// give adds one decided token to the output.
func (s *session) give(t GeneratedToken) {
	s.out.push(t, slices.Contains(s.ends, t.ID))
	s.e.c.Metrics.token(t)
	s.sum.Origins.add(t)
	if s.sum.Tokens++; s.sum.Tokens == 1 {
		s.sum.FirstToken = s.now()
	}
}

// leave frees what the session holds in both models and hands out the rest.
func (s *session) leave() {
	s.dcancel()
	if s.st != nil {
		s.st.leave(s.p.Finished() != speculative.NotFinished)
		s.st = nil
	}
	s.out.finish()
	if !s.out.dirty {
		return
	}
	s.out.next.Progress = s.progress()
	select {
	case s.events <- s.out.next:
	case <-s.ctx.Done():
		if s.err == nil && len(s.out.next.Tokens) > 0 {
			s.sum.Finish, s.err = speculative.FinishCancelled, context.Cause(s.ctx)
		}
	}
}

// deadline says when the request's time is up, and ends it then. While the cloud is there it decides,
// so it gets a moment more.
func (s *session) deadline(now time.Duration) (time.Duration, bool) {
	if s.r.Deadline == 0 {
		return 0, false
	}
	at := s.r.Deadline
	if s.linked {
		at += deadlineGrace
	}
	if now >= at {
		s.end(speculative.FinishDeadline, nil)
	}
	return at, true
}

const deadlineGrace = time.Second

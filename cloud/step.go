package cloud

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// share is one session's part of a step.
type share struct {
	s     *session
	seg   speculative.Segment
	queue time.Duration
}

// Steps that failed as a whole: after aloneAfter of them in a row a session runs alone, so that
// whatever in it the model cannot bear harms nobody else; after endAfter it is ended.
const (
	aloneAfter = 2
	endAfter   = 4
)

// plan fills one step with the most urgent of the sessions that are ready.
func (l *loop) plan(now speculative.Time, ratio float64) ([]share, []backend.Segment) {
	l.look(now, ratio)
	bids, who := l.suspects(now, ratio)
	if len(bids) == 0 {
		bids, who = l.candidates(now, ratio)
	}
	if len(bids) == 0 {
		return nil, nil
	}
	cost := l.cost.Cost()
	l.fair.Begin(bids)
	limits := speculative.Limits{Positions: l.c.StepPositions, Sequences: l.c.StepSequences, Prefill: l.prefillRows(cost)}
	grants := speculative.Plan(bids, limits, cost)
	l.fair.Charge(bids, grants, cost)
	// The oldest first: models give out KV memory in the order of the batch.
	slices.SortFunc(grants, func(a, b speculative.Grant) int { return cmp.Compare(who[a.Bid].order, who[b.Bid].order) })
	shares, batch := make([]share, 0, len(grants)), make([]backend.Segment, 0, len(grants))
	stepped := make(chan struct{})
	for _, g := range grants {
		s := who[g.Bid]
		if s.seq == 0 {
			l.lastSeq++
			s.seq = l.lastSeq
			l.holders[s] = struct{}{}
		}
		sh := share{s, s.v.Begin(g.N), now - s.readyAt}
		shares, batch = append(shares, sh), append(batch, s.segment(sh.seg))
		s.busy, s.stepped, s.marked, s.fresh, s.readyAt = true, stepped, false, false, 0
	}
	l.putBack(who, now)
	return shares, batch
}

// look lists those of the marked sessions that are ready.
func (l *loop) look(now speculative.Time, ratio float64) {
	look := l.marked
	l.marked = l.spare[:0] // evaluate may mark further sessions
	for _, s := range look {
		switch {
		case !s.runnable() || !l.evaluate(s, now, ratio):
			s.marked, s.readyAt = false, 0
		case s.suspect >= aloneAfter:
			l.alone = append(l.alone, s)
		default:
			l.enqueue(s, now)
		}
	}
	clear(look)
	l.spare = look
}

// suspects returns a session that has to run alone, when there is one.
func (l *loop) suspects(now speculative.Time, ratio float64) ([]speculative.Bid, []*session) {
	for len(l.alone) > 0 {
		s := l.alone[0]
		l.alone[0] = nil
		l.alone = l.alone[1:]
		if s.runnable() && l.evaluate(s, now, ratio) {
			return []speculative.Bid{{Offer: s.offer, Since: s.served, Tenant: &s.tenant.Tenant}}, []*session{s}
		}
		s.marked, s.readyAt = false, 0
	}
	return nil, nil
}

// behind says whether a session has waited too long, or has got less than its pace since its stream
// began or its prompt was run.
func (l *loop) behind(s *session, now speculative.Time) bool { return now >= l.behindAt(s, now) }

// behindAt says from when on it will be so.
func (l *loop) behindAt(s *session, now speculative.Time) speculative.Time {
	at := max(s.served, s.readyAt) + l.c.FairWait
	if l.c.Pace <= 0 || s.offer.Prefill > 0 {
		return at
	}
	if s.pacedAt == 0 {
		s.pacedAt, s.pacedFrom = now, len(s.v.Log())
	}
	got := float64(len(s.v.Log())-s.pacedFrom) / l.c.Pace
	return min(at, s.pacedAt+time.Duration(got*float64(time.Second))+1)
}

// evaluate brings a session's offer up to date and says whether it is ready. For one that is not it
// notes what will make it so.
func (l *loop) evaluate(s *session, now speculative.Time, ratio float64) bool {
	if !s.fresh {
		s.offer, s.fresh = s.v.Offer(now, ratio), true
		if s.acked+l.c.Credit <= len(s.v.Log()) {
			s.offer = speculative.Offer{} // no prompt chunks either: it may have been evicted while it waits
		}
		if s.narrow {
			s.offer.Values, s.offer.Own = nil, nil
		}
	}
	switch {
	case s.offer.Ready:
		if s.parkedAt = 0; s.readyAt == 0 {
			s.readyAt = s.markedAt
		}
		return true
	case s.offer.Wake != 0:
		s.parkedAt = 0
		l.timers.set(s, s.offer.Wake)
	case s.parkedAt == 0:
		s.parkedAt = now
		l.timers.set(s, now+l.c.StallTimeout)
		l.unblock() // its rows are up for eviction now
	case now-s.parkedAt >= l.c.StallTimeout:
		s.end(errStalled)
	default:
		l.timers.set(s, s.parkedAt+l.c.StallTimeout)
	}
	return false
}

// prefillRows bounds the prompt chunks of one step, so that a long prompt delays nobody by more
// than about a tenth of a second, or than a step takes at least.
func (l *loop) prefillRows(c speculative.Cost) int {
	return int(min(time.Duration(l.c.StepPositions), max(16, max(100*time.Millisecond, c.Step)/c.Position)))
}

// apply hands the outcome of a step to its sessions. It returns why the step failed as a whole.
func (l *loop) apply(shares []share, results []backend.Result, err error, took time.Duration, ratio float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if err == nil && len(results) != len(shares) {
		err = fmt.Errorf("the model returned %d results for %d segments", len(results), len(shares))
	}
	var needy []share
	for i, sh := range shares {
		sh.s.busy, sh.s.served = false, now
		switch {
		case err != nil:
			l.stepFailed(sh, err, len(shares) == 1)
		case errors.Is(results[i].Err, backend.ErrNoMemory):
			sh.s.v.Discard(sh.seg, sh.seg.Keep != nil)
			needy = append(needy, sh)
		case results[i].Err != nil:
			l.segmentFailed(sh, results[i].Err)
		default:
			sh.s.ready = true
			for j := range results[i].Logprobs {
				results[i].Choices[j].Logprobs = &results[i].Logprobs[j]
			}
			l.scored(sh, results[i].Choices, now, took, ratio, len(shares))
		}
		l.keep(sh.s) // before its edge learns of the end and asks for more
	}
	l.makeRoom(needy)
	close(shares[0].s.stepped) // which they share
	for _, sh := range shares {
		if sh.s.stepped = nil; sh.s.done {
			l.drop(sh.s)
		}
		l.settle(sh.s)
	}
	l.publish()
	if err == nil {
		l.measure(shares, took)
	}
	return err
}

// settle readies a session for the next step.
func (l *loop) settle(s *session) {
	s.fresh = false
	l.mark(s)
}

func (l *loop) measure(shares []share, took time.Duration) {
	decode, prompt := 0, 0
	for _, sh := range shares {
		if sh.seg.Prefill {
			prompt += len(sh.seg.Tokens)
			continue
		}
		decode += len(sh.seg.Tokens)
		l.m.queue.Observe(sh.queue.Seconds())
	}
	l.cost.Observe(len(shares), decode+prompt, took)
	c := l.cost.Cost()
	l.m.costSequence.Set(c.Sequence.Seconds())
	l.m.costStep.Set(c.Step.Seconds())
	l.m.costRow.Set(c.Position.Seconds())
	l.m.step.Observe(took.Seconds())
	l.m.batch.Observe(float64(len(shares)))
	l.m.positions.Observe(float64(prompt + decode))
	l.m.promptRows.Add(float64(prompt))
	l.m.decodeRows.Add(float64(decode))
}

func (l *loop) scored(sh share, choices []speculative.Choice, now speculative.Time, took time.Duration, ratio float64, load int) {
	s := sh.s
	for _, c := range choices {
		if c.Token < 0 || int(c.Token) >= l.info.VocabularySize {
			l.misbehaves(sh, fmt.Errorf("it chose token %d of a vocabulary of %d", c.Token, l.info.VocabularySize))
			return
		}
	}
	c, err := s.v.Scored(now, sh.seg, choices, ratio)
	if err != nil {
		l.misbehaves(sh, err)
		return
	}
	s.suspect, s.narrow = 0, false
	if s.probing {
		s.probing = false
		l.unblock()
	}
	c.Queue, c.Score, c.Load = sh.queue, took, load
	l.tallyPass(s, c)
	s.push(c)
	n := len(c.Tokens)
	if sh.seg.Prefill {
		n += len(sh.seg.Tokens) // each time that they are run
	}
	if err := s.account.charge(n); err != nil {
		s.end(err) // its rows are kept for when it resumes
	}
}

func (l *loop) misbehaves(sh share, err error) {
	l.c.Logger.Error("the target misbehaves", "request", sh.s.name, "target", l.target.Name, "error", err)
	sh.s.v.Discard(sh.seg, true)
	sh.s.end(status.Errorf(codes.Internal, "the target misbehaves: %s", err))
}

// stepFailed handles the failure of the whole step.
func (l *loop) stepFailed(sh share, err error, alone bool) {
	s := sh.s
	s.v.Discard(sh.seg, true)
	if s.suspect++; alone && s.suspect >= endAfter {
		s.end(status.Errorf(codes.Internal, "the target fails on this session: %s", err))
	}
}

// errBroken tells an edge that opening the session again does not help.
func errBroken(target string, err error) error {
	st := status.Newf(codes.Internal, "target %s: %s", target, err)
	if d, err := st.WithDetails(&errdetails.ErrorInfo{Reason: "TARGET_BROKEN", Domain: "outrider"}); err == nil {
		st = d
	}
	return st.Err()
}

// segmentFailed handles one session's own failure.
func (l *loop) segmentFailed(sh share, err error) {
	s := sh.s
	s.v.Discard(sh.seg, true)
	switch {
	case errors.Is(err, backend.ErrSequenceLost):
	case errors.Is(err, backend.ErrContextFull):
		s.finish(speculative.FinishLength)
	case errors.Is(err, backend.ErrNotFinite):
		l.c.Logger.Error("the target is broken", "request", s.name, "target", l.target.Name, "error", err)
		s.end(errBroken(l.target.Name, err))
	case errors.Is(err, backend.ErrInvalid): // it would refuse the session again
		l.c.Logger.Warn("the target refused a session", "request", s.name, "target", l.target.Name, "error", err)
		s.end(status.Errorf(codes.InvalidArgument, "target %s: %s", l.target.Name, err))
	default:
		l.c.Logger.Error("the target refused a segment", "request", s.name, "target", l.target.Name, "error", err)
		s.end(status.Errorf(codes.Internal, "the target refused a segment: %s", err))
	}
}

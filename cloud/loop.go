package cloud

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// loop is the batching loop of one target. Its mutex guards all sessions of the target and is never
// held while the model runs or a message is sent.
type loop struct {
	c      *Config
	target Target
	info   backend.Info
	m      labelled
	start  time.Time

	mu         sync.Mutex
	sessions   map[sessionID]*session
	connected  int
	draining   bool
	lastSeq    backend.Sequence
	free       []backend.Sequence // to be released before the next step
	cost       costModel
	generation uint64
	changed    chan struct{}
}

func newLoop(c *Config, t Target) *loop {
	l := &loop{c: c, target: t, info: t.Model.Info(), m: c.Metrics.of(t.Name), start: time.Now(),
		sessions: map[sessionID]*session{}, changed: make(chan struct{}, 1)}
	if r, ok := t.Model.(restarter); ok {
		l.generation = r.Generation()
	}
	return l
}

func (l *loop) now() speculative.Time { return time.Since(l.start) }

// poke tells the loop that there may be something to run.
func (l *loop) poke() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// share is one session's part of a step.
type share struct {
	s     *session
	seg   speculative.Segment
	queue time.Duration
}

// run steps the target until ctx is done.
func (l *loop) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		l.checkGeneration()
		l.expire()
		ratio := l.cost.cost().Ratio()
		shares, wake := l.plan(ratio)
		batch := make([]backend.Segment, len(shares))
		for i, sh := range shares {
			batch[i] = sh.s.segment(sh.seg)
		}
		free := l.free
		l.free = nil
		l.mu.Unlock()

		if len(free) > 0 {
			if err := l.target.Model.Release(ctx, free); err != nil && ctx.Err() == nil {
				l.c.Logger.Warn("could not release sequences", "target", l.target.Name, "error", err)
			}
		}
		if len(shares) == 0 {
			l.rest(ctx, wake)
			continue
		}
		begin := time.Now()
		results, err := l.target.Model.Forward(ctx, batch)
		l.apply(shares, results, err, time.Since(begin), ratio)
		if err != nil {
			l.recover(ctx, err)
		}
	}
}

// rest waits until something changes; wake is 0 when time alone changes nothing.
func (l *loop) rest(ctx context.Context, wake speculative.Time) {
	d := time.Minute
	if wake > 0 {
		d = max(0, wake-l.now())
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-l.changed:
	case <-t.C:
	}
}

// recover waits until a model that failed as a whole is back.
func (l *loop) recover(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.m.restarts.Inc()
	l.c.Logger.Warn("the target failed, its sessions will be run again", "target", l.target.Name, "error", err)
	if r, ok := l.target.Model.(restarter); ok {
		err := r.Wait(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.c.Logger.Error("the target does not come back", "target", l.target.Name, "error", err)
		l.failAll(status.Errorf(codes.Unavailable, "the target model is gone: %s", err))
	}
	l.rest(ctx, l.now()+500*time.Millisecond)
}

func (l *loop) failAll(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		s.end(err)
	}
}

// checkGeneration notices that the model's process was replaced: it holds nothing any more.
func (l *loop) checkGeneration() {
	r, ok := l.target.Model.(restarter)
	if !ok || r.Generation() == l.generation {
		return
	}
	l.generation = r.Generation()
	l.free = nil
	for _, s := range l.sessions {
		s.v.Lost()
		s.fresh, s.blocked = false, false
	}
}

// plan asks every session for its offer and fills one step.
func (l *loop) plan(ratio float64) ([]share, speculative.Time) {
	now := l.now()
	var wake speculative.Time
	var bids []speculative.Bid
	var who []*session
	for _, s := range l.sessions {
		if !s.connected || s.blocked || s.over {
			if !s.connected && s.seq != 0 {
				wake = earliest(wake, s.idleAt+l.c.IdleTTL)
			}
			continue
		}
		o := s.currentOffer(now, ratio)
		if !o.Ready {
			wake = earliest(wake, o.Wake)
			continue
		}
		bids = append(bids, speculative.Bid{Offer: o, Since: s.served, Behind: now-max(s.served, s.readyAt) > l.c.FairWait})
		who = append(who, s)
	}
	if len(bids) == 0 {
		return nil, wake
	}
	cost := l.cost.cost()
	limits := speculative.Limits{Positions: l.c.StepPositions, Sequences: l.c.StepSequences, Prefill: prefillRows(cost)}
	var shares []share
	for _, g := range speculative.Plan(bids, limits, cost) {
		s := who[g.Bid]
		if s.seq == 0 {
			l.lastSeq++
			s.seq = l.lastSeq
		}
		shares = append(shares, share{s, s.v.Begin(g.N), s.sinceReady(now)})
		s.busy, s.stepped, s.fresh, s.readyAt = true, make(chan struct{}), false, 0
	}
	return shares, 0
}

func earliest(a, b speculative.Time) speculative.Time {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// prefillRows bounds the prompt chunks of one step, so that a long prompt delays nobody by more
// than about a tenth of a second.
func prefillRows(c speculative.Cost) int {
	return int(min(256, max(16, 100*time.Millisecond/c.Position)))
}

// apply hands the outcome of a step to its sessions.
func (l *loop) apply(shares []share, results []backend.Result, err error, took time.Duration, ratio float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	decode, prompt := 0, 0
	if err == nil && len(results) != len(shares) {
		err = errors.New("the model returned a result for another number of segments")
	}
	for i, sh := range shares {
		s := sh.s
		s.busy, s.fresh, s.served = false, false, now
		close(s.stepped)
		s.stepped = nil
		if err != nil {
			s.v.Discard(sh.seg, true)
			continue
		}
		if e := results[i].Err; e != nil {
			l.segmentFailed(sh, e, shares)
			continue
		}
		if sh.seg.Prefill {
			prompt += len(sh.seg.Tokens)
		} else {
			decode += len(sh.seg.Tokens)
			l.m.queue.Observe(sh.queue.Seconds())
		}
		l.scored(sh, results[i].Choices, now, took, ratio, len(shares))
		if !s.connected && s.over {
			l.drop(s)
		}
	}
	if err != nil {
		return
	}
	if prompt == 0 {
		l.cost.observe(decode, took)
		c := l.cost.cost()
		l.m.costStep.Set(c.Step.Seconds())
		l.m.costRow.Set(c.Position.Seconds())
	}
	l.m.step.Observe(took.Seconds())
	l.m.batch.Observe(float64(len(shares)))
	l.m.promptRows.Add(float64(prompt))
	l.m.decodeRows.Add(float64(decode))
}

func (l *loop) scored(sh share, choices []speculative.Choice, now speculative.Time, took time.Duration, ratio float64, load int) {
	c, err := sh.s.v.Scored(now, sh.seg, choices, ratio)
	if err != nil {
		sh.s.v.Discard(sh.seg, true)
		sh.s.end(status.Errorf(codes.Internal, "the target misbehaves: %s", err))
		return
	}
	c.Queue, c.Score, c.Load = sh.queue, took, load
	for _, f := range c.Fates {
		l.m.fate[f].Inc()
	}
	sh.s.push(c)
}

// segmentFailed handles one session's own failure.
func (l *loop) segmentFailed(sh share, err error, shares []share) {
	s := sh.s
	switch {
	case errors.Is(err, backend.ErrSequenceLost):
		s.v.Discard(sh.seg, true)
	case errors.Is(err, backend.ErrNoMemory):
		s.v.Discard(sh.seg, sh.seg.Keep != nil)
		l.makeRoom(s, shares)
	case errors.Is(err, backend.ErrContextFull):
		s.v.Discard(sh.seg, true)
		s.finish(speculative.FinishLength)
	default:
		s.v.Discard(sh.seg, true)
		l.c.Logger.Error("the target refused a segment", "target", l.target.Name, "error", err)
		s.end(status.Errorf(codes.Internal, "the target refused a segment: %s", err))
	}
}

// makeRoom frees KV memory for s: the rows of broken sessions first, the longest idle first; then
// those of the youngest session, so that the oldest always gets on. With nothing to take, s waits.
func (l *loop) makeRoom(s *session, shares []share) {
	var victim *session
	for _, o := range l.sessions {
		if o == s || o.seq == 0 || o.v.Held() == 0 || o.busy || inStep(o, shares) {
			continue
		}
		if victim == nil || better(o, victim) {
			victim = o
		}
	}
	if victim == nil || (victim.connected && victim.opened < s.opened) {
		s.blocked = true
		l.releaseRows(s)
		return
	}
	l.m.evictions.Inc()
	l.releaseRows(victim)
}

// better prefers idle sessions, the longest idle first, then the youngest connected one.
func better(a, b *session) bool {
	switch {
	case a.connected != b.connected:
		return !a.connected
	case !a.connected:
		return a.idleAt < b.idleAt
	}
	return a.opened > b.opened
}

func inStep(s *session, shares []share) bool {
	return slices.ContainsFunc(shares, func(sh share) bool { return sh.s == s })
}

// releaseRows gives a session's KV rows back; the session may go on and is then run again from 0.
func (l *loop) releaseRows(s *session) {
	if s.seq != 0 {
		l.free = append(l.free, s.seq)
	}
	s.seq, s.fresh = 0, false
	s.v.Lost()
}

// drop forgets a session and frees its rows; the next step's beginning releases them.
func (l *loop) drop(s *session) {
	if l.sessions[s.id] == s {
		delete(l.sessions, s.id)
	}
	if !s.busy {
		l.releaseRows(s)
	}
	for _, o := range l.sessions {
		o.blocked = false
	}
	l.poke()
}

// expire drops sessions that have been without a stream for too long.
func (l *loop) expire() {
	now := l.now()
	for _, s := range l.sessions {
		if !s.connected && !s.busy && now-s.idleAt >= l.c.IdleTTL {
			l.m.idle.Dec()
			l.drop(s)
		}
	}
}

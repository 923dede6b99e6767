package cloud

import (
	"container/list"
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// loop is the batching loop of one target. Its mutex guards all sessions of the target and is never
// held while the model runs or a message is sent. What a step costs the loop depends on the
// sessions that have something to run, not on how many there are.
type loop struct {
	c      *Config
	target Target
	info   backend.Info
	m      labelled
	start  time.Time

	stop    context.CancelFunc
	stopped chan struct{} // closed when run has ended

	in inbox

	mu        sync.Mutex
	sessions  map[sessionID]*session
	connected int
	idle      list.List // of *session, the longest idle first
	draining  bool
	closed    bool // retired, and no session is left
	lastOrder uint64
	meanLife  time.Duration // smoothed life of a session

	marked  []*session // to be looked at before the next step
	spare   []*session // its other buffer
	timers  timers
	changed chan struct{}

	lastSeq    backend.Sequence
	holders    map[*session]struct{} // sessions with a sequence
	prefixes   prefixes
	free       []backend.Sequence // to be released before the next step
	blocked    []*session         // wait for KV memory, the oldest first
	generation uint64
	cost       speculative.CostModel
	tally      tally

	tenants   map[string]*tenant
	gone      int // tenants whose last session has left since they were looked through
	fair      speculative.Fair
	alone     []*session // ready, to be run by themselves
	bidBuffer []speculative.Bid
	whoBuffer []*session
	active    []*tenant
}

func newLoop(c *Config, t Target) *loop {
	l := &loop{c: c, target: t, info: t.Model.Info(), m: c.Metrics.of(t.Name), start: time.Now(),
		sessions: map[sessionID]*session{}, holders: map[*session]struct{}{},
		tenants: map[string]*tenant{}, prefixes: prefixes{byKey: map[prefixKey][]*prefix{}}, changed: make(chan struct{}, 1)}
	if r, ok := t.Model.(restarter); ok {
		l.generation = r.Generation()
	}
	return l
}

// now is never 0, which means "not set".
func (l *loop) now() speculative.Time { return 1 + time.Since(l.start) }

// mark makes the loop look at a session before the next step: its offer may have changed.
func (l *loop) mark(s *session) {
	s.fresh = false
	if s.marked || !s.runnable() {
		return
	}
	s.marked, s.markedAt = true, l.now()
	l.marked = append(l.marked, s)
	l.poke()
}

// poke tells the loop that there may be something to do.
func (l *loop) poke() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// run steps the target until ctx is done, then frees what the sessions hold.
func (l *loop) run(ctx context.Context) {
	defer l.releaseAll()
	failures := 0
	for l.await(ctx) {
		woke := time.Now()
		l.mu.Lock()
		now := l.now()
		l.checkGeneration()
		l.collect()
		l.expire(now)
		l.expirePrefixes(now)
		l.ring(now)
		ratio := l.cost.Cost().Ratio()
		shares, batch := l.plan(now, ratio)
		free := l.free
		l.free = nil
		wake := l.nextWake()
		l.mu.Unlock()

		l.release(ctx, free)
		if len(shares) == 0 {
			l.rest(ctx, wake)
			continue
		}
		traced, trace := l.trace(ctx, shares)
		begin := time.Now()
		results, err := l.target.Model.Forward(traced, batch)
		took := time.Since(begin)
		trace.end(len(shares), err)
		err = l.apply(shares, results, err, took, ratio)
		l.m.schedule.Observe((time.Since(woke) - took).Seconds())
		if err == nil {
			failures = 0
			continue
		}
		failures++
		l.recover(ctx, err, failures)
	}
}

// release hands sequences back to the model; what it would not take is tried again.
func (l *loop) release(ctx context.Context, free []backend.Sequence) {
	if len(free) == 0 {
		return
	}
	err := l.target.Model.Release(ctx, free)
	if err == nil || ctx.Err() != nil {
		return
	}
	l.c.Logger.Warn("could not release sequences", "target", l.target.Name, "error", err)
	l.mu.Lock()
	l.free = append(l.free, free...)
	l.mu.Unlock()
}

// releaseAll leaves the model, which is the caller's, as it was.
func (l *loop) releaseAll() {
	l.mu.Lock()
	for s := range l.holders {
		l.releaseRows(s)
	}
	for l.prefixes.age.Len() > 0 {
		l.forget(l.prefixes.age.Front().Value.(*prefix))
	}
	free := l.free
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.release(ctx, free)
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

// await waits until the model is there. It is false once ctx is done.
func (l *loop) await(ctx context.Context) bool {
	r, ok := l.target.Model.(restarter)
	for ok && ctx.Err() == nil {
		err := r.Wait(ctx)
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			l.c.Logger.Error("the target does not come back", "target", l.target.Name, "error", err)
			l.failAll(retryLater(codes.Unavailable, 10*time.Second, "the target model is gone: %s", err))
			pause(ctx, time.Second)
		}
	}
	return ctx.Err() == nil
}

// recover takes note of a step that failed as a whole. A model that fails at once must not make
// the loop spin.
func (l *loop) recover(ctx context.Context, err error, failures int) {
	if ctx.Err() != nil {
		return
	}
	l.m.failures.Inc()
	l.c.Logger.Warn("the target failed, its sessions will be run again", "target", l.target.Name, "error", err)
	pause(ctx, min(10*time.Millisecond<<min(failures-1, 6), time.Second))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
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
	if !ok {
		return
	}
	g := r.Generation()
	if g == l.generation {
		return
	}
	l.generation = g
	l.free = nil
	for s := range l.holders {
		s.seq, s.fresh = 0, false
		s.v.Lost()
	}
	clear(l.holders)
	l.stripPrefixes()
	l.unblock()
}

// disconnect turns a connected session into an idle one.
func (l *loop) disconnect(s *session) {
	s.connected, s.blocked, s.idleSince = false, false, l.now()
	s.idleAt = l.idle.PushBack(s)
	l.connected--
	s.account.leave()
	for e := l.idle.Front(); e != nil && l.idle.Len() > l.c.MaxIdle; {
		o := e.Value.(*session)
		if e = e.Next(); !o.busy {
			l.drop(o)
		}
	}
	l.unblock() // its rows are up for eviction now
	l.poke()    // and its expiry is a date
}

// drop forgets a session that is not busy and frees its rows; the next step's beginning releases
// them.
func (l *loop) drop(s *session) {
	if l.sessions[s.id] != s {
		return
	}
	delete(l.sessions, s.id)
	l.leaveTenant(s.tenant)
	if s.idleAt != nil {
		l.idle.Remove(s.idleAt)
		s.idleAt = nil
	}
	if !s.adopted {
		l.account(s)
	}
	l.releaseRows(s)
	l.unblock()
	l.poke()
}

func (l *loop) account(s *session) {
	l.tallyUsage(s)
	l.publish()
	life := l.now() - s.opened
	if l.meanLife == 0 {
		l.meanLife = life
	}
	l.meanLife += (life - l.meanLife) / 16
}

// expire drops sessions that have been idle for too long.
func (l *loop) expire(now speculative.Time) {
	for e := l.idle.Front(); e != nil; e = l.idle.Front() {
		s := e.Value.(*session)
		if s.busy || now-s.idleSince < l.c.IdleTTL {
			return
		}
		l.drop(s)
	}
}

// ring marks the sessions whose time has come.
func (l *loop) ring(now speculative.Time) {
	for _, s := range l.timers.due(now) {
		s.timer = 0
		l.mark(s)
	}
}

// nextWake is when the loop has to look again though nothing happens; 0: never.
func (l *loop) nextWake() speculative.Time {
	wake := l.timers.next()
	if e := l.idle.Front(); e != nil {
		wake = earliest(wake, e.Value.(*session).idleSince+l.c.IdleTTL)
	}
	if e := l.prefixes.age.Front(); e != nil {
		wake = earliest(wake, e.Value.(*prefix).at+l.c.PrefixTTL)
	}
	return wake
}

func earliest(a, b speculative.Time) speculative.Time {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

var errStalled = status.Error(codes.Canceled, "nothing was acknowledged for too long: resume the session when you read again")

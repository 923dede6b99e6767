package cloud

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// admit takes a stream in: a new session, or the next incarnation of one whose stream broke. The
// older stream is fenced; what it had committed and the rows it holds are taken over.
func (l *loop) admit(ctx context.Context, r *request) (*session, *outriderv1.Opened, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, err := l.fence(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	account := l.c.quotas.account(r.peer.Tenant)
	if err = l.room(old != nil); err == nil {
		err = account.enter(old != nil, l.retryAfter())
	}
	if err != nil {
		l.m.refused.Inc()
		return nil, nil, err
	}
	s := l.newSession(r)
	s.account, s.resumed = account, old != nil
	if old != nil {
		l.m.resumed.Inc()
		s.order, s.opened, s.spoke = old.order, old.opened, true
		if sameSetup(old.setup, s.setup) && old.logprobs == s.logprobs {
			s.v.Adopt(old.v)
			s.counted = old.counted
			old.adopted = true
			l.move(old, s)
		}
		l.drop(old)
	} else {
		l.m.opened.Inc()
	}
	l.inherit(s)
	l.sessions[s.id] = s
	l.connected++
	if c, ok := s.v.Replay(len(r.tokens)); ok {
		s.push(c)
	}
	l.mark(s)
	return s, &outriderv1.Opened{Target: l.describe(), Held: uint32(s.v.Held()), Credit: uint32(l.c.Credit),
		Window: uint32(l.c.Window), Exact: s.exact, TokenBits: uint32(s.packed.Bits),
		KeepMs: l.keepMillis(s), Rule: backend.RuleToProto(s.setup.Rule)}, nil
}

func (l *loop) newSession(r *request) *session {
	now := l.now()
	l.lastOrder++
	return &session{peer: r.peer, tenant: l.tenantOf(r.key.tenant), id: r.id, key: r.key, order: l.lastOrder, stream: r.stream, setup: r.setup, logprobs: r.logprobs, name: r.name, span: r.span, connected: true, opened: now, served: now,
		exact: r.numerics == "" || r.numerics == l.info.Numerics && !l.info.ShapeDependent, out: outbox{sent: len(r.tokens)}, acked: len(r.tokens), notify: make(chan struct{}, 1),
		packed: speculative.Unpacker{Bits: speculative.TokenBits(l.info.VocabularySize), Window: l.c.Window, Drawn: r.setup.Rule.Kind == speculative.Rejection},
		v: speculative.NewVerifier(speculative.VerifierConfig{
			PromptLength: r.setup.PromptLength, Window: l.c.Window, Credit: l.c.Credit, MaxPassesPerToken: r.passes, Patience: r.patience, Chains: !l.info.Trees, Own: l.own(r.setup.Rule),
			Ending: speculative.Ending{MaxLength: r.maxLen, EndTokens: r.ends, Stop: r.stop, Piece: l.target.Bytes},
		}, r.tokens)}
}

// room says whether one more session may connect. A resumed one has places that new ones have not:
// it is in the middle of its text.
func (l *loop) room(resumed bool) error {
	if l.draining {
		return retryLater(codes.Unavailable, time.Second, "this cloud is shutting down: open the session elsewhere")
	}
	if l.closed {
		return retryLater(codes.Unavailable, retireEvery, "target %s was replaced just now: open the session again", l.target.Name)
	}
	limit := l.c.MaxSessions
	if resumed {
		limit += max(1, limit/8)
	}
	if l.connected >= limit {
		return retryLater(codes.ResourceExhausted, l.retryAfter(), "all %d sessions of target %s are taken", l.c.MaxSessions, l.target.Name)
	}
	return nil
}

// fence ends an older stream of the session and returns what it leaves, once no step of it is under
// way. An equal or older incarnation than the one there is refused.
func (l *loop) fence(ctx context.Context, r *request) (*session, error) {
	for {
		old := l.sessions[r.id]
		if old == nil || l.draining {
			return nil, nil
		}
		if r.stream <= old.stream {
			return nil, errSuperseded
		}
		if old.end(errSuperseded); old.connected {
			l.disconnect(old)
		}
		if !old.busy {
			return old, nil
		}
		stepped := old.stepped
		l.mu.Unlock()
		select {
		case <-stepped:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// retryAfter guesses when a place is free: places come free one by one over an average session's
// life.
func (l *loop) retryAfter() time.Duration {
	return min(max(l.meanLife/time.Duration(max(1, l.connected)), 250*time.Millisecond), 10*time.Second)
}

func (l *loop) describe() *outriderv1.TargetInfo {
	t := &outriderv1.TargetInfo{Name: l.target.Name, Vocabulary: l.info.Vocabulary,
		ContextLength: uint32(l.info.ContextLength), Numerics: l.info.Numerics, ShapeDependent: l.info.ShapeDependent,
		Pace: l.target.Pace}
	if p := l.target.Tokenizer; p != nil {
		t.Tokenizer = p.Digest[:]
	}
	return t
}

// handle handles one message, or the end of the receiving side.
func (l *loop) handle(s *session, m *outriderv1.DecodeRequest, err error) {
	if s.over {
		return
	}
	if errors.Is(err, io.EOF) { // the client goes away on purpose
		s.finish(speculative.FinishCancelled)
		l.keep(s)
		return
	}
	if err == nil {
		err = s.handle(m, l.now(), l.info.VocabularySize, l.c.Window)
	} else {
		err = frameError(err)
	}
	if err != nil {
		if status.Code(err) == codes.InvalidArgument {
			l.m.faults.Inc()
			l.c.Logger.Info("a stream broke the protocol", "request", s.name, "target", l.target.Name, "error", err)
		}
		s.end(err)
		return
	}
	l.keep(s) // it may have been cancelled
	l.mark(s)
}

// expireDeadline ends a session whose time is up.
func (l *loop) expireDeadline(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collect()
	if !s.over {
		s.finish(speculative.FinishDeadline)
		l.keep(s)
	}
}

// leave is called when the stream's handler returns: a session that ended is dropped, one whose
// stream broke is kept for a while.
func (l *loop) leave(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collect()
	if l.sessions[s.id] != s || !s.connected {
		return // fenced: a newer stream has taken over
	}
	l.disconnect(s)
	s.over = true
	switch {
	case s.v.Finished() == speculative.NotFinished && !permanent(s.err):
	case s.busy:
		s.done = true // the end of the step drops it
	default:
		l.drop(s)
	}
}

// permanent says that trying again would end in the same way.
func permanent(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Internal:
		return true
	case codes.ResourceExhausted: // for good, unless it says when to come back
		return !slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
	}
	return false
}

// drain refuses new sessions; when end is set the present ones are told to go elsewhere.
func (l *loop) drain(end bool) (left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	if end {
		for _, s := range l.sessions {
			if s.connected {
				s.end(retryLater(codes.Unavailable, 100*time.Millisecond, "this cloud is shutting down: resume elsewhere"))
			}
		}
	}
	return l.connected
}

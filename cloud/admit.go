package cloud

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	if l.draining {
		return nil, nil, retryLater(codes.Unavailable, time.Second, "this cloud is shutting down: open the session elsewhere")
	}
	if old == nil && l.connected >= l.c.MaxSessions {
		l.m.refused.Inc()
		return nil, nil, retryLater(codes.ResourceExhausted, l.retryAfter(),
			"all %d sessions of target %s are taken", l.c.MaxSessions, l.target.Name)
	}
	now := l.now()
	s := &session{id: r.id, stream: r.stream, setup: r.setup, connected: true, opened: now, served: now,
		exact: r.numerics == "" || r.numerics == l.info.Numerics, notify: make(chan struct{}, 1)}
	s.v = speculative.NewVerifier(speculative.VerifierConfig{
		PromptLength: r.setup.PromptLength, Window: l.c.Window, Credit: l.c.Credit, MaxPassesPerToken: r.passes,
		Ending: speculative.Ending{MaxLength: r.maxLen, EndTokens: r.ends, Stop: r.stop, Piece: l.target.Bytes},
	}, r.tokens)
	if old != nil {
		l.m.resumed.Inc()
		s.opened = old.opened
		if sameSetup(old.setup, s.setup) {
			s.v.Adopt(old.v)
			s.seq, old.seq = old.seq, 0
		}
		l.drop(old)
	} else {
		l.m.opened.Inc()
	}
	l.sessions[s.id] = s
	l.connected++
	l.m.connected.Inc()
	if c, ok := s.v.Replay(len(r.tokens)); ok {
		s.push(c)
	}
	l.poke()
	return s, &outriderv1.Opened{Target: l.describe(), Held: uint32(s.v.Held()), Credit: uint32(l.c.Credit),
		Window: uint32(l.c.Window), Exact: s.exact}, nil
}

// fence ends an older stream of the session and returns what it leaves, once no step of it is under
// way. An equal or older incarnation than the one there is refused.
func (l *loop) fence(ctx context.Context, r *request) (*session, error) {
	for {
		old := l.sessions[r.id]
		if old == nil {
			return nil, nil
		}
		if r.stream <= old.stream {
			return nil, errSuperseded
		}
		old.end(errSuperseded)
		if old.connected {
			l.disconnect(old)
		}
		if !old.busy {
			l.m.idle.Dec()
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

// retryAfter guesses when a place is free: a session's average life is not known, so a second.
func (l *loop) retryAfter() time.Duration { return time.Second }

func (l *loop) describe() *outriderv1.TargetInfo {
	return &outriderv1.TargetInfo{Name: l.target.Name, Vocabulary: l.info.Vocabulary,
		ContextLength: uint32(l.info.ContextLength), Numerics: l.info.Numerics, Pace: l.target.Pace}
}

// disconnect turns a connected session into an idle one.
func (l *loop) disconnect(s *session) {
	s.connected, s.idleAt = false, l.now()
	l.connected--
	l.m.connected.Dec()
	l.m.idle.Inc()
}

// received handles one message, or the end of the receiving side.
func (l *loop) received(s *session, m *outriderv1.DecodeRequest, err error) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.poke()
	if s.over {
		return false
	}
	if errors.Is(err, io.EOF) { // the client goes away on purpose
		s.finish(speculative.FinishCancelled)
		return false
	}
	if err != nil { // the stream is broken, or a frame could not be read
		s.end(err)
		return false
	}
	if err := s.handle(m, l.now(), l.info.VocabularySize, l.c.Window); err != nil {
		l.m.faults.Inc()
		l.c.Logger.Info("a stream broke the protocol", "target", l.target.Name, "error", err)
		s.end(err)
		return false
	}
	return !s.over
}

// take returns what the handler has to send.
func (l *loop) take(s *session) (out []*outriderv1.Commit, over bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out, s.out = s.out, nil
	return out, s.over, s.err
}

// expireDeadline ends a session whose time is up.
func (l *loop) expireDeadline(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.over {
		s.finish(speculative.FinishDeadline)
	}
}

// leave is called when the stream's handler returns: a session that ended is dropped, one whose
// stream broke keeps its rows for a while.
func (l *loop) leave(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[s.id] != s || !s.connected {
		return // fenced: a newer stream has taken over
	}
	l.disconnect(s)
	done := s.v.Finished() != speculative.NotFinished || (s.err != nil && status.Code(s.err) == codes.InvalidArgument)
	if !done {
		s.over = true
		l.poke()
		return
	}
	u := s.v.Usage()
	l.m.drafted.Add(float64(u.Drafted))
	l.m.judged.Add(float64(u.Judged))
	l.m.accepted.Add(float64(u.Accepted))
	l.m.late.Add(float64(u.Late))
	l.m.stale.Add(float64(u.Stale))
	s.over = true
	if !s.busy { // otherwise the end of the step drops it
		l.m.idle.Dec()
		l.drop(s)
		return
	}
	s.idleAt -= l.c.IdleTTL // due as soon as the step is over
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

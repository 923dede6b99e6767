package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Server implements DecodeService.
type Server struct {
	outriderv1.UnimplementedDecodeServiceServer
	c       Config
	opening chan struct{} // a place for each stream whose Open is being read
	giving  chan struct{} // and for each tokenizer that is being sent
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	frame   int // the largest message that is read; 0: not decided yet

	mu       sync.RWMutex // taken before a loop's
	targets  []served     // the first is the default
	leaving  []*loop      // of targets that were removed or replaced and have sessions yet
	draining bool
}

// NewServer starts the loops of all targets. Close it after use; the models stay the caller's.
func NewServer(c Config) (*Server, error) {
	if err := c.defaults(); err != nil {
		return nil, err
	}
	s := &Server{c: c, opening: make(chan struct{}, c.MaxOpening), giving: make(chan struct{}, maxGiving)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.SetTargets(c.Targets); err != nil {
		s.cancel()
		return nil, err
	}
	if c.Identify != nil {
		s.wg.Go(func() { s.recheck(s.ctx) })
	}
	return s, nil
}

// Options are the gRPC server options that fit this service: keepalive finds dead edges, frames are
// no larger than the longest valid Open, streams of one connection are bounded.
func (s *Server) Options() []grpc.ServerOption {
	context := s.c.MaxContext
	s.each(func(l *loop) { context = max(context, l.info.ContextLength) })
	frame := maxFrame(context)
	s.mu.Lock()
	s.frame = frame
	s.mu.Unlock()
	return append(s.identify(),
		grpc.MaxRecvMsgSize(frame),
		grpc.MaxHeaderListSize(16<<10),
		// Messages are small and edges are many.
		grpc.ReadBufferSize(4<<10),
		grpc.WriteBufferSize(16<<10),
		grpc.MaxConcurrentStreams(uint32(s.c.MaxStreams)),
		grpc.ConnectionTimeout(s.c.OpenTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 10 * time.Second,
			MaxConnectionIdle: 10 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
}

// Close stops the loops. Streams end with UNAVAILABLE; the models' sequences are released.
func (s *Server) Close() {
	s.endSessions()
	s.cancel()
	s.wg.Wait()
	s.each(s.c.Metrics.state.remove)
}

// Drain refuses new sessions, lets the present ones go on until ctx is done, then tells them to
// resume elsewhere.
func (s *Server) Drain(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := 0
		s.each(func(l *loop) { left += l.drain(false) })
		if left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			s.endSessions()
			return
		case <-tick.C:
		}
	}
}

// endSessions tells all sessions to go elsewhere.
func (s *Server) endSessions() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.each(func(l *loop) { l.drain(true) })
}

func (s *Server) each(f func(*loop)) {
	s.mu.RLock()
	all := s.loops()
	s.mu.RUnlock()
	for _, l := range all {
		f(l)
	}
}

// Sessions counts the sessions that hold state: connected and idle.
func (s *Server) Sessions() (connected, idle int) {
	s.each(func(l *loop) {
		l.mu.Lock()
		defer l.mu.Unlock()
		connected += l.connected
		idle += l.idle.Len()
	})
	return connected, idle
}

type decodeStream = grpc.BidiStreamingServer[outriderv1.DecodeRequest, outriderv1.DecodeResponse]

// Decode implements DecodeService: one session's stream. This goroutine sends, a second one
// receives, the target's loop decides.
func (s *Server) Decode(stream decodeStream) error {
	ctx := stream.Context()
	l, r, err := s.open(stream)
	if err != nil {
		return err
	}
	r.named(ctx)
	if err = s.c.quotas.account(r.peer.Tenant).fits(r); err == nil {
		err = l.resolve(r)
	}
	var ss *session
	var opened *outriderv1.Opened
	if err == nil {
		ss, opened, err = l.admit(ctx, r)
	}
	if err != nil {
		s.c.Logger.Info("a session was refused", "request", r.name, "tenant", r.peer.Tenant, "target", l.target.Name, "error", err)
		e := r.event("refused", remote(ctx), l.target.Name)
		e.Reason = status.Convert(err).Message()
		s.audit(e)
		return err
	}
	s.audit(r.event(map[bool]string{false: "opened", true: "resumed"}[ss.resumed], remote(ctx), l.target.Name))
	defer func(begun time.Time) { s.logEnd(l, r, ss, time.Since(begun), err, remote(ctx)) }(time.Now())
	defer l.leave(ss)
	err = s.converse(stream, l, ss, opened, r.deadline)
	return err
}

// logEnd tells of a stream that has ended.
func (s *Server) logEnd(l *loop, r *request, ss *session, took time.Duration, err error, from string) {
	l.mu.Lock()
	tokens, finish, prefilled := ss.out.length()-len(r.tokens), ss.v.Finished(), ss.v.Usage().Prefilled
	l.mu.Unlock()
	e := r.event("ended", from, l.target.Name)
	e.Committed, e.Prefilled, e.Seconds, e.Reason = tokens, prefilled, took.Seconds(), fmt.Sprint(finish)
	if err != nil {
		e.Reason = status.Convert(err).Message()
	}
	s.audit(e)
	s.c.Logger.Info("a session's stream ended", "request", r.name, "target", l.target.Name, "stream", r.stream, "tokens", tokens,
		"finish", finish, "took", took, "error", err)
	r.span.Set(attribute.String("outrider.request", r.name), attribute.String("outrider.target", l.target.Name),
		attribute.Int("outrider.tokens", tokens))
}

// converse sends what the loop commits until the session is over.
func (s *Server) converse(stream decodeStream, l *loop, ss *session, opened *outriderv1.Opened, within time.Duration) error {
	ctx := stream.Context()
	if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Opened{Opened: opened}}); err != nil {
		return err
	}
	received := make(chan struct{})
	go func() { // ends with the stream, which ends when this handler returns
		defer close(received)
		receive(stream, l, ss)
	}()
	var deadline <-chan time.Time
	if within > 0 {
		t := time.NewTimer(within)
		defer t.Stop()
		deadline = t.C
	}
	for {
		select {
		case <-ctx.Done():
			<-received // it knows whether the stream broke or could not be read
			return ctx.Err()
		case <-deadline:
			l.expireDeadline(ss)
		case <-ss.notify:
		}
		out, over, end := ss.out.take()
		for _, c := range out {
			l.m.down.Add(float64(proto.Size(c)))
			if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Commit{Commit: c}}); err != nil {
				return err
			}
		}
		if over {
			return end
		}
	}
}

// An edge sends a few hundred messages a second at most. One that sends more is read more slowly:
// it holds up itself only.
const (
	burstMessages = 256
	burstPeriod   = 100 * time.Millisecond
)

func receive(stream decodeStream, l *loop, ss *session) {
	n, since := 0, time.Now()
	for {
		m, err := stream.Recv()
		if err == nil {
			l.m.up.Add(float64(proto.Size(m)))
		}
		if !l.deliver(ss, m, err) {
			return
		}
		if n++; n < burstMessages {
			continue
		}
		if wait := burstPeriod - time.Since(since); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-stream.Context().Done():
			}
			t.Stop()
		}
		n, since = 0, time.Now()
	}
}

// open reads the stream's first message and validates it. An Open may be large: only so many are
// read at once, and each within a time.
func (s *Server) open(stream decodeStream) (*loop, *request, error) {
	t := time.NewTimer(s.c.OpenTimeout)
	defer t.Stop()
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-stream.Context().Done():
		return nil, nil, stream.Context().Err()
	case <-t.C:
		return nil, nil, retryLater(codes.ResourceExhausted, time.Second, "too many sessions are being opened")
	}
	type first struct {
		m   *outriderv1.DecodeRequest
		err error
	}
	ch := make(chan first, 1)
	go func() { // ends with the stream
		m, err := stream.Recv()
		ch <- first{m, err}
	}()
	var f first
	select {
	case f = <-ch:
	case <-t.C:
		return nil, nil, status.Errorf(codes.DeadlineExceeded, "no open message within %s", s.c.OpenTimeout)
	}
	switch {
	case errors.Is(f.err, io.EOF):
		return s.checked(nil, Peer{})
	case f.err != nil:
		return nil, nil, frameError(f.err)
	}
	return s.checked(f.m.GetOpen(), peerOf(stream.Context()))
}

func (s *Server) checked(o *outriderv1.Open, p Peer) (*loop, *request, error) {
	if o == nil {
		return nil, nil, invalid("the first message of a stream must be open")
	}
	l, err := s.find(o.GetModel(), p.Tenant, o.GetSession())
	if err != nil {
		return nil, nil, err
	}
	r, err := checkOpen(o, l.target, l.info, &s.c)
	if err != nil {
		l.m.faults.Inc()
		return nil, nil, err
	}
	r.peer, r.key.tenant, r.id.tenant = p, p.Tenant, p.Tenant
	return l, r, nil
}

package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

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
	loops   map[string]*loop
	opening chan struct{} // a place for each stream whose Open is being read
	giving  chan struct{} // and for each tokenizer that is being sent
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// NewServer starts the loops of all targets. Close it after use; the models stay the caller's.
func NewServer(c Config) (*Server, error) {
	if err := c.defaults(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{c: c, loops: map[string]*loop{}, cancel: cancel, opening: make(chan struct{}, c.MaxOpening),
		giving: make(chan struct{}, maxGiving)}
	for _, t := range c.Targets {
		l := newLoop(&s.c, t)
		s.loops[t.Name] = l
		c.Metrics.state.add(l)
		s.wg.Go(func() { l.run(ctx) })
	}
	return s, nil
}

// Options are the gRPC server options that fit this service: keepalive finds dead edges, frames are
// no larger than the longest valid Open, streams of one connection are bounded.
func (s *Server) Options() []grpc.ServerOption {
	context := 0
	for _, l := range s.loops {
		context = max(context, l.info.ContextLength)
	}
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxFrame(context)),
		grpc.MaxHeaderListSize(16 << 10),
		// Messages are small and edges are many.
		grpc.ReadBufferSize(4 << 10),
		grpc.WriteBufferSize(16 << 10),
		grpc.MaxConcurrentStreams(uint32(s.c.MaxStreams)),
		grpc.ConnectionTimeout(s.c.OpenTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 10 * time.Second,
			MaxConnectionIdle: 10 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// Close stops the loops. Streams end with UNAVAILABLE; the models' sequences are released.
func (s *Server) Close() {
	s.each(func(l *loop) { l.drain(true) })
	s.cancel()
	s.wg.Wait()
	s.each(s.c.Metrics.state.remove)
}

// Drain refuses new sessions, lets the present ones go on until ctx is done, then tells them to
// resume elsewhere.
func (s *Server) Drain(ctx context.Context) {
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
			s.each(func(l *loop) { l.drain(true) })
			return
		case <-tick.C:
		}
	}
}

func (s *Server) each(f func(*loop)) {
	for _, l := range s.loops {
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

// Ready says why no session can be served now, nil when one can.
func (s *Server) Ready() error {
	for _, t := range s.c.Targets {
		l := s.loops[t.Name]
		l.mu.Lock()
		draining := l.draining
		l.mu.Unlock()
		if draining {
			return errors.New("draining")
		}
		if r, ok := t.Model.(interface{ Running() bool }); ok && !r.Running() {
			return fmt.Errorf("target %s is restarting", t.Name)
		}
	}
	return nil
}

// ListModels implements DecodeService.
func (s *Server) ListModels(context.Context, *outriderv1.ListModelsRequest) (*outriderv1.ListModelsResponse, error) {
	r := &outriderv1.ListModelsResponse{}
	for _, t := range s.c.Targets {
		r.Models = append(r.Models, s.loops[t.Name].describe())
	}
	return r, nil
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
	if s.c.Tenant != nil {
		r.key.tenant = s.c.Tenant(ctx)
	}
	if err := l.resolve(r); err != nil {
		return err
	}
	ss, opened, err := l.admit(ctx, r)
	if err != nil {
		return err
	}
	defer l.leave(ss)
	if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Opened{Opened: opened}}); err != nil {
		return err
	}
	received := make(chan struct{})
	go func() { // ends with the stream, which ends when this handler returns
		defer close(received)
		receive(stream, l, ss)
	}()
	var deadline <-chan time.Time
	if r.deadline > 0 {
		t := time.NewTimer(r.deadline)
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
		out, over, end := l.take(ss)
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
		if !l.received(ss, m, err) {
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
		return s.checked(nil)
	case f.err != nil:
		return nil, nil, frameError(f.err)
	}
	return s.checked(f.m.GetOpen())
}

func (s *Server) checked(o *outriderv1.Open) (*loop, *request, error) {
	if o == nil {
		return nil, nil, invalid("the first message of a stream must be open")
	}
	l, err := s.loop(o.GetModel())
	if err != nil {
		return nil, nil, err
	}
	r, err := checkOpen(o, l.target, l.info, &s.c)
	if err != nil {
		l.m.faults.Inc()
		return nil, nil, err
	}
	return l, r, nil
}

// loop returns the loop of a target, of the first one when name is empty.
func (s *Server) loop(name string) (*loop, error) {
	if name == "" {
		name = s.c.Targets[0].Name
	}
	if l, ok := s.loops[name]; ok {
		return l, nil
	}
	return nil, status.Errorf(codes.NotFound, "no model %.64q here, there is %s", name, s.names())
}

func (s *Server) names() string {
	var names []string
	for n := range s.loops {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

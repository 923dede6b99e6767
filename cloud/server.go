package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Server implements DecodeService.
type Server struct {
	outriderv1.UnimplementedDecodeServiceServer
	c      Config
	loops  map[string]*loop
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewServer starts the loops of all targets. Close it after use; the models stay the caller's.
func NewServer(c Config) (*Server, error) {
	if err := c.defaults(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{c: c, loops: map[string]*loop{}, cancel: cancel}
	for _, t := range c.Targets {
		l := newLoop(&s.c, t)
		s.loops[t.Name] = l
		s.wg.Go(func() { l.run(ctx) })
	}
	return s, nil
}

// maxFrame bounds one message; an Open carries the whole prompt.
const maxFrame = 8 << 20

// ServerOptions are the gRPC options that fit this service: keepalive finds dead edges, frames are
// bounded.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxFrame),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WriteBufferSize(0), // a commit is small and must go at once
	}
}

// Close stops the loops. Streams end with UNAVAILABLE.
func (s *Server) Close() {
	s.each(func(l *loop) { l.drain(true) })
	s.cancel()
	s.wg.Wait()
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
		idle += len(l.sessions) - l.connected
	})
	return connected, idle
}

// ListModels implements DecodeService.
func (s *Server) ListModels(context.Context, *outriderv1.ListModelsRequest) (*outriderv1.ListModelsResponse, error) {
	r := &outriderv1.ListModelsResponse{}
	for _, t := range s.c.Targets {
		r.Models = append(r.Models, s.loops[t.Name].describe())
	}
	return r, nil
}

// Decode implements DecodeService: one session's stream. This goroutine sends, a second one
// receives, the target's loop decides.
func (s *Server) Decode(stream grpc.BidiStreamingServer[outriderv1.DecodeRequest, outriderv1.DecodeResponse]) error {
	l, r, err := s.open(stream)
	if err != nil {
		return err
	}
	ss, opened, err := l.admit(stream.Context(), r)
	if err != nil {
		return err
	}
	defer l.leave(ss)
	if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Opened{Opened: opened}}); err != nil {
		return err
	}
	go func() { // ends with the stream, which ends when this handler returns
		for {
			m, err := stream.Recv()
			if !l.received(ss, m, err) {
				return
			}
		}
	}()
	var deadline <-chan time.Time
	if r.deadline > 0 {
		t := time.NewTimer(r.deadline)
		defer t.Stop()
		deadline = t.C
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-deadline:
			l.expireDeadline(ss)
		case <-ss.notify:
		}
		out, over, end := l.take(ss)
		for _, c := range out {
			if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Commit{Commit: c}}); err != nil {
				return err
			}
		}
		if over {
			return end
		}
	}
}

// open waits for the stream's first message and validates it.
func (s *Server) open(stream grpc.BidiStreamingServer[outriderv1.DecodeRequest, outriderv1.DecodeResponse]) (*loop, *request, error) {
	type first struct {
		m   *outriderv1.DecodeRequest
		err error
	}
	ch := make(chan first, 1)
	go func() {
		m, err := stream.Recv()
		ch <- first{m, err}
	}()
	t := time.NewTimer(s.c.OpenTimeout)
	defer t.Stop()
	var f first
	select {
	case f = <-ch:
	case <-t.C:
		return nil, nil, status.Errorf(codes.DeadlineExceeded, "no open message within %s", s.c.OpenTimeout)
	}
	if f.err != nil {
		return nil, nil, f.err
	}
	o := f.m.GetOpen()
	if o == nil {
		return nil, nil, invalid("the first message of a stream must be open")
	}
	name := o.GetModel()
	if name == "" {
		name = s.c.Targets[0].Name
	}
	l, ok := s.loops[name]
	if !ok {
		return nil, nil, status.Errorf(codes.NotFound, "no model %q here, there is %s", name, s.names())
	}
	r, err := checkOpen(o, l.target, l.info, &s.c)
	if err != nil {
		l.m.faults.Inc()
		return nil, nil, err
	}
	return l, r, nil
}

func (s *Server) names() string {
	var names []string
	for n := range s.loops {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Ready says whether every target is there to serve.
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

package load

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/telemetry"
)

// Floor serves the streams of a cloud that decides nothing: in each step it wakes so many of them in turn, and
// each sends a commit of tokens that are known beforehand. What that costs is what gRPC and the Go runtime
// cost; a cloud can only cost more.
type Floor struct {
	outriderv1.UnimplementedDecodeServiceServer
	Streams int           // woken in a step
	Step    time.Duration // from one to the next

	delivery prometheus.Observer
	mu       sync.Mutex
	ring     []*floorStream
	next     int
}

type floorStream struct {
	at, end int // length of the log, and when it is over
	turns   int
	notify  chan struct{}
	mu      sync.Mutex
	since   time.Time
}

// Serve serves until ctx is done.
func (f *Floor) Serve(ctx context.Context, lis net.Listener, reg prometheus.Registerer, o ...grpc.ServerOption) error {
	h := telemetry.Brief("outrider_cloud", "delivery_seconds", "From a step's end until a session's commit is with the transport.", "target")
	reg.MustRegister(h)
	f.delivery = h.WithLabelValues("floor")
	gs := grpc.NewServer(append([]grpc.ServerOption{grpc.ReadBufferSize(4 << 10), grpc.WriteBufferSize(16 << 10)}, o...)...)
	outriderv1.RegisterDecodeServiceServer(gs, f)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		<-ctx.Done()
		gs.Stop()
	})
	wg.Go(func() { f.pace(ctx) })
	return gs.Serve(lis)
}

// pace wakes streams, step by step.
func (f *Floor) pace(ctx context.Context) {
	t := time.NewTicker(f.Step)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		f.mu.Lock()
		for range min(f.Streams, len(f.ring)) {
			f.next = (f.next + 1) % len(f.ring)
			s := f.ring[f.next]
			s.mu.Lock()
			s.turns, s.since = s.turns+1, now
			s.mu.Unlock()
			select {
			case s.notify <- struct{}{}:
			default:
			}
		}
		f.mu.Unlock()
	}
}

// ListModels implements DecodeService.
func (f *Floor) ListModels(context.Context, *outriderv1.ListModelsRequest) (*outriderv1.ListModelsResponse, error) {
	return &outriderv1.ListModelsResponse{Models: []*outriderv1.TargetInfo{{Name: "floor", Vocabulary: "floor"}}}, nil
}

// Decode implements DecodeService.
func (f *Floor) Decode(stream grpc.BidiStreamingServer[outriderv1.DecodeRequest, outriderv1.DecodeResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	s := &floorStream{at: len(m.GetOpen().GetTokens()), end: int(m.GetOpen().GetMaxLength()), notify: make(chan struct{}, 1)}
	if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Opened{Opened: &outriderv1.Opened{Window: 32}}}); err != nil {
		return err
	}
	go func() { // ends with the stream
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	f.mu.Lock()
	f.ring = append(f.ring, s)
	f.mu.Unlock()
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-s.notify:
		}
		s.mu.Lock()
		turns, since := s.turns, s.since
		s.mu.Unlock()
		c := s.commit(turns)
		if err := stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Commit{Commit: c}}); err != nil {
			return err
		}
		f.delivery.Observe(time.Since(since).Seconds())
		if c.GetFinish() != 0 {
			return nil
		}
	}
}

// commit is what a stream sends in its n-th turn: 7 tokens in 4 turns, as many as a cloud sends at an agreement
// of 0.8 with drafts of two.
func (s *floorStream) commit(n int) *outriderv1.Commit {
	k := 2
	if n%4 == 0 {
		k = 1
	}
	k = min(k, s.end-s.at)
	c := &outriderv1.Commit{Start: uint32(s.at), ScoreUs: 40000, QueueUs: 1000, Load: 256, JudgedNode: uint32(n)}
	for range k {
		c.Tokens = append(c.Tokens, 1+uint32(s.at%60))
		c.Fates = append(c.Fates, outriderv1.Fate(1))
		s.at++
	}
	if s.at == s.end {
		c.Finish = outriderv1.Finish_FINISH_LENGTH
	}
	return c
}

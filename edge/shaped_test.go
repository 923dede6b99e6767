package edge

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/outrider-llm/outrider/bench/link"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/shape"
)

// sizes notes how long the messages of streams are, up and down.
type sizes struct {
	mu       sync.Mutex
	up, down []int
}

type streamKey struct{}

func (*sizes) TagRPC(ctx context.Context, i *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, streamKey{}, i.FullMethodName == outriderv1.DecodeService_Decode_FullMethodName)
}
func (*sizes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*sizes) HandleConn(context.Context, stats.ConnStats)                       {}
func (z *sizes) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if ok, _ := ctx.Value(streamKey{}).(bool); !ok {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	switch s := s.(type) {
	case *stats.OutPayload:
		z.up = append(z.up, s.Length)
	case *stats.InPayload:
		z.down = append(z.down, s.Length)
	}
}

// take returns what was noted and begins anew.
func (z *sizes) take() (up, down []int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	up, down, z.up, z.down = z.up, z.down, nil, nil
	return up, down
}

// aged is a cloud that knows no shapes.
func aged(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, agedStream{s})
}

type agedStream struct{ grpc.ServerStream }

func (s agedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if r, ok := m.(*outriderv1.DecodeRequest); ok && r.GetOpen() != nil {
		r.GetOpen().Shape, r.GetOpen().Padding = nil, nil
	}
	return err
}

// Whatever the shape, the answer is the target's; in shape, all messages after the first have the agreed sizes, whatever the prompt,
// and an older cloud serves an edge that wishes for one.
func TestShapes(t *testing.T) {
	for _, padding := range []struct {
		shape string
		every time.Duration
		old   bool
	}{{"off", 0, false}, {"buckets", 0, false}, {"512", 0, false}, {"off", 2 * time.Millisecond, false}, {"32", 3 * time.Millisecond, false}, {"buckets", 0, true}, {"256", 5 * time.Millisecond, true}} {
		as, err := shape.Parse(padding.shape, padding.every)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(as.String(), func(t *testing.T) {
			z := &sizes{}
			r := newRig(t, link.Config{}, func(r *rig) {
				r.config.Shape = as
				r.config.Branches = true
				r.config.Dial = append(r.config.Dial, grpc.WithStatsHandler(z))
				if padding.old {
					r.cloud.options = append(r.cloud.options, grpc.StreamInterceptor(aged))
				}
			})
			for seed := range 3 {
				q := request(seed, 20+30*seed)
				q.Tokens = prompt(seed, 10+60*seed)
				q.Logprobs = seed // messages longer than a frame
				c, sum := r.generate(q, nil)
				r.identical(q, c)
				if sum.Resumes > 0 {
					t.Errorf("%d resumes", sum.Resumes)
				}
				up, down := z.take()
				if as.On() && up[0] != 1027 {
					t.Errorf("an opening of %d bytes", up[0])
				}
				if as.On() && !padding.old {
					inShape(t, as, up[1:])
					inShape(t, as, down[1:])
				}
			}
			r.empty()
		})
	}
}

func inShape(t *testing.T, as shape.Shape, got []int) {
	t.Helper()
	for _, n := range got {
		if n -= 2; n >= 128 { // tag and length
			n--
		}
		if !slices.Contains(as.Sizes, n) {
			t.Fatalf("a message of %d bytes, sizes are %s", n, as)
		}
	}
}

// A stream that breaks in the middle goes on in shape, and the answer is the same.
func TestShapeAfterABreak(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.Shape = shape.Shape{Sizes: []int{64}, Every: 3 * time.Millisecond}
		r.target.step = time.Millisecond
	})
	q := request(3, 120)
	var once sync.Once
	c, sum := r.generate(q, func(n int) {
		if n > 20 {
			once.Do(r.link.Cut)
		}
	})
	r.identical(q, c)
	if sum.Resumes != 1 {
		t.Errorf("%d resumes", sum.Resumes)
	}
	r.empty()
}

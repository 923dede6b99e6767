package edge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/telemetry"
)

// streamEvent is what a stream tells its session: Opened first, then commits.
type streamEvent struct {
	opened *outriderv1.Opened
	commit *outriderv1.Commit
}

// stream is one incarnation of a session's stream: one goroutine opens it and then receives, another
// one sends.
type stream struct {
	l      *uplink
	ctx    context.Context
	cancel context.CancelFunc
	out    chan *outriderv1.DecodeRequest
	in     chan streamEvent // closed at the end, when err says why
	over   chan struct{}    // closed when the stream has ended
	begun  atomic.Bool      // Open may have reached the cloud
	err    error            // why it ended; set before in and over are closed
	conn   *grpc.ClientConn // it went over; set before in and over are closed
}

var (
	errOverflow = errors.New("the link takes nothing any more")
	errEnded    = errors.New("the cloud ended the stream early")
)

// Messages that wait for the sender at most; more means that the link is stuck.
const sendQueue = 64

// open begins a stream in the trace of a request's context; it does not block.
func (l *uplink) open(request context.Context, id string, o *outriderv1.Open) *stream {
	st := &stream{l: l, out: make(chan *outriderv1.DecodeRequest, sendQueue), in: make(chan streamEvent, 4),
		over: make(chan struct{})}
	st.ctx, st.cancel = context.WithCancel(telemetry.Carry(telemetry.SendRequestID(l.ctx, id), request))
	l.running.Go(func() {
		defer close(st.in)
		defer close(st.over)
		defer st.cancel()
		st.conn = l.acquire()
		defer l.release()
		st.err = st.run(st.conn, o)
	})
	return st
}

// went is the connection that a stream which is over used, nil while it is not.
func (st *stream) went() *grpc.ClientConn {
	select {
	case <-st.over:
		return st.conn
	default:
		return nil
	}
}

// tell hands an event to the session, which may take its time.
func (st *stream) tell(e streamEvent) {
	select {
	case st.in <- e:
	case <-st.ctx.Done():
	}
}

// run opens the stream, waiting for a connection if need be, and receives until it ends.
func (st *stream) run(conn *grpc.ClientConn, o *outriderv1.Open) error {
	s, err := outriderv1.NewDecodeServiceClient(conn).Decode(st.ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	st.begun.Store(true)
	st.l.excuse(proto.Size(o))
	if err := s.Send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: o}}); err != nil {
		_, err = s.Recv() // Send says EOF only, Recv has the status
		return ended(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer st.cancel()
	wg.Go(func() { st.send(s) })
	for {
		m, err := s.Recv()
		if err != nil {
			return ended(err)
		}
		st.l.hear()
		switch x := m.GetMessage().(type) {
		case *outriderv1.DecodeResponse_Opened:
			st.tell(streamEvent{opened: x.Opened})
		case *outriderv1.DecodeResponse_Commit:
			st.tell(streamEvent{commit: x.Commit})
		}
	}
}

func ended(err error) error {
	if _, ok := status.FromError(err); !ok || err == nil {
		return errEnded
	}
	return err
}

// send hands out messages in order; a nil message closes the sending side.
func (st *stream) send(s grpc.BidiStreamingClient[outriderv1.DecodeRequest, outriderv1.DecodeResponse]) {
	for {
		select {
		case m := <-st.out:
			if m == nil {
				_ = s.CloseSend()
				return
			}
			if s.Send(m) != nil {
				return // Recv has the reason
			}
		case <-st.ctx.Done():
			return
		}
	}
}

// put queues a message, false when the queue is full. It never blocks.
func (st *stream) put(m *outriderv1.DecodeRequest) bool {
	select {
	case st.out <- m:
		return true
	default:
		return false
	}
}

// cancelGrace is how long a stream that is given up may take to tell the cloud so.
const cancelGrace = 2 * time.Second

// leave ends the stream in the background: with Cancel first when the cloud has not ended the
// session, so that it frees the session's memory at once.
func (st *stream) leave(finished bool) {
	if !st.begun.Load() {
		st.cancel()
		return
	}
	if !finished {
		st.put(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Cancel{Cancel: &outriderv1.Cancel{}}})
	}
	st.put(nil)
	st.l.running.Go(func() {
		defer st.cancel()
		t := time.NewTimer(cancelGrace)
		defer t.Stop()
		for {
			select {
			case _, ok := <-st.in:
				if !ok {
					return
				}
			case <-t.C:
				return
			}
		}
	})
}

package edge

import (
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/shape"
)

type decodeClient = grpc.BidiStreamingClient[outriderv1.DecodeRequest, outriderv1.DecodeResponse]

// maxCommit bounds one message of a cloud, as gRPC does where messages come plainly; maxUnsent what waits for its frame.
const (
	maxCommit = 4 << 20
	maxUnsent = 256 << 10
)

// wish asks for the edge's shape in an Open, and gives it a length that many have.
func (s *session) wish(o *outriderv1.Open) {
	if w := s.e.c.Shape; w.On() {
		o.Shape = w.ToProto()
		o.Padding = shape.Opening(proto.Size(o), 2)
	}
}

// agreed takes the shape that the cloud has agreed to. It is called before the session hears of Opened, so that all that it sends
// then is in shape.
func (st *stream) agreed(o *outriderv1.Opened) (*shape.Reader, error) {
	s, err := shape.FromProto(o.GetShape())
	if err != nil || !s.On() {
		return nil, err
	}
	st.shape.Store(&s)
	close(st.shaped)
	return shape.NewReader(maxCommit), nil
}

// unframe hands on the messages that a frame completes.
func (st *stream) unframe(r *shape.Reader, frame []byte) error {
	if r == nil {
		return errors.New("the cloud sends frames that were not agreed on")
	}
	if err := r.Add(frame); err != nil {
		return err
	}
	for {
		b, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		m := &outriderv1.DecodeResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			return err
		}
		if c, ok := m.GetMessage().(*outriderv1.DecodeResponse_Commit); ok {
			st.tell(streamEvent{commit: c.Commit})
		}
	}
}

// sendShaped is send once a shape is agreed on; first is a message that waits already, if any.
func (st *stream) sendShaped(s decodeClient, as shape.Shape, first *outriderv1.DecodeRequest) {
	w := shape.NewWriter(as)
	var ticks <-chan time.Time
	if as.Every > 0 {
		t := time.NewTicker(as.Every)
		defer t.Stop()
		ticks = t.C
	}
	if first != nil && w.Add(first) != nil {
		return
	}
	for leaving := false; ; {
		tick := false
		if ticks != nil || w.Pending() == 0 {
			select {
			case m := <-st.out:
				leaving = leaving || m == nil
				if m != nil && (w.Add(m) != nil || w.Pending() > maxUnsent) {
					st.cancel() // frames are too small, or too few, for what is said
					return
				}
			case <-ticks:
				tick = true
			case <-st.ctx.Done():
				return
			}
		}
		for tick || ticks == nil && w.Pending() > 0 {
			if s.Send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Frame{Frame: w.Frame()}}) != nil {
				return // Recv has the reason
			}
			tick = false
		}
		if leaving && w.Pending() == 0 {
			_ = s.CloseSend()
			return
		}
	}
}

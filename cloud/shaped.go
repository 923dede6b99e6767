package cloud

import (
	"time"

	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/shape"
	"github.com/outrider-llm/outrider/speculative"
)

// downlink sends what a session says, in the shape that was agreed on. The stream's handler owns it.
type downlink struct {
	stream decodeStream
	l      *loop
	shape  shape.Shape
	w      *shape.Writer // nil: messages go plainly
	ticker *time.Ticker  // nil: no cadence
}

func newDownlink(stream decodeStream, l *loop, s shape.Shape) *downlink {
	d := &downlink{stream: stream, l: l, shape: s}
	if s.On() {
		d.w = shape.NewWriter(s)
	}
	if s.Every > 0 {
		d.ticker = time.NewTicker(s.Every)
	}
	return d
}

func (d *downlink) stop() {
	if d.ticker != nil {
		d.ticker.Stop()
	}
}

// open sends the first message.
func (d *downlink) open(o *outriderv1.Opened) error {
	if d.w != nil {
		o.Shape = d.shape.ToProto()
		o.Padding = shape.Opening(proto.Size(o), 1)
	}
	return d.stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Opened{Opened: o}})
}

// news and ticks say when to send: one of them never does.
func (d *downlink) news(n chan struct{}) <-chan struct{} {
	if d.ticker != nil {
		return nil
	}
	return n
}

func (d *downlink) ticks() <-chan time.Time {
	if d.ticker == nil {
		return nil
	}
	return d.ticker.C
}

// send sends what is there, or this tick's frame of it. It says whether the stream is over, and how it ends then.
func (d *downlink) send(o *outbox) (over bool, end error) {
	if d.w == nil || d.w.Pending() < d.shape.Size(0) {
		var out []*outriderv1.Commit
		var since speculative.Time
		out, since, over, end = o.take()
		for _, c := range out {
			m := &outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Commit{Commit: c}}
			var err error
			if d.w == nil {
				d.l.m.down.Add(float64(proto.Size(c)))
				err = d.stream.Send(m)
			} else {
				err = d.w.Add(m)
			}
			if err != nil {
				return true, err
			}
		}
		if since != 0 && d.w == nil { // frames wait on purpose
			d.l.m.delivery.Observe((d.l.now() - since).Seconds())
		}
	}
	if d.w == nil {
		return over, end
	}
	for d.ticker != nil || d.w.Pending() > 0 {
		f := d.w.Frame()
		d.l.m.down.Add(float64(len(f)))
		if err := d.stream.Send(&outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Frame{Frame: f}}); err != nil {
			return true, err
		}
		if d.ticker != nil {
			break
		}
	}
	return over && d.w.Pending() == 0, end
}

// unframed are the messages that one brings whole: itself, or what its frame completes.
func unframed(r *shape.Reader, m *outriderv1.DecodeRequest) ([]*outriderv1.DecodeRequest, error) {
	f, ok := m.GetMessage().(*outriderv1.DecodeRequest_Frame)
	if !ok || r == nil {
		return []*outriderv1.DecodeRequest{m}, nil
	}
	if err := r.Add(f.Frame); err != nil {
		return nil, invalid("%s", err)
	}
	var out []*outriderv1.DecodeRequest
	for {
		b, ok, err := r.Next()
		if err != nil {
			return nil, invalid("%s", err)
		}
		if !ok {
			return out, nil
		}
		in := &outriderv1.DecodeRequest{}
		if err := proto.Unmarshal(b, in); err != nil {
			return nil, invalid("unreadable message in a frame: %s", err)
		}
		out = append(out, in)
	}
}

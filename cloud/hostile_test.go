package cloud

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// rawCodec sends []byte as it is.
type rawCodec struct{ encoding.CodecV2 }

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return proto.Unmarshal(data.Materialize(), v.(proto.Message))
}

func proposal(p *outriderv1.Propose) *outriderv1.DecodeRequest {
	return &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Propose{Propose: p}}
}

// hostile messages, each sent on an open session with a prompt of 8 tokens and a credit of 4.
func hostile() map[string]any {
	return map[string]any{
		"empty":           &outriderv1.DecodeRequest{},
		"second open":     &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: open(1, promptOf(1, 8), 60)}},
		"ack ahead":       ackMsg(60),
		"ack far ahead":   &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Ack{Ack: &outriderv1.Ack{Committed: 1<<32 - 1}}},
		"epoch ahead":     proposal(&outriderv1.Propose{Epoch: 1000, Tokens: []uint32{1}}),
		"epoch huge":      proposal(&outriderv1.Propose{Epoch: 1<<32 - 1, Tokens: []uint32{1}}),
		"first ahead":     proposal(&outriderv1.Propose{Epoch: 8, First: 7, Tokens: []uint32{1}}),
		"first huge":      proposal(&outriderv1.Propose{Epoch: 8, First: 1<<32 - 1, Tokens: []uint32{1}}),
		"token":           proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{50}}),
		"token huge":      proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1<<32 - 1}}),
		"window":          proposal(&outriderv1.Propose{Epoch: 8, Tokens: make([]uint32, speculative.DefaultWindow+1)}),
		"parents":         proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1, 2}, Parents: []uint32{0}}),
		"parent ahead":    proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1, 2}, Parents: []uint32{0, 9}}),
		"parent itself":   proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1}, Parents: []uint32{1}}),
		"parent huge":     proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1}, Parents: []uint32{1<<32 - 1}}),
		"confidence":      proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1}, Confidence: []byte{1, 2}}),
		"drawn, coupled":  proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1}, DrawnFrom: []*outriderv1.Sparse{{Tokens: []uint32{2}, Weights: []byte{1, 1}}}}),
		"too large":       make([]byte, 1<<20),
		"not protobuf":    []byte{0x0a, 0xff, 0xff, 0xff},
		"cut short":       []byte{0x12, 0x10, 0x08},
		"unknown field":   []byte{0xfa, 0x07, 0x01, 0x41},
		"packed cut":      []byte{0x12, 0x04, 0x1a, 0x02, 0x80, 0x80},
		"wrong wire type": []byte{0x15, 1, 2, 3, 4},
	}
}

func TestHostileMessagesEndTheirSessionOnly(t *testing.T) {
	r := start(t, newToy(), Config{Credit: 4})
	ctx, stop := context.WithCancel(t.Context())
	others := make(chan error, 1)
	go func() { // a neighbour that works all the while, on the same connection
		for i := uint64(1000); ; i++ {
			n := newNaive(t, open(i, promptOf(i, 8), 60))
			if err := n.run(t.Context(), r.c); err != nil {
				others <- fmt.Errorf("the neighbour: %w", err)
				return
			}
			if n.check(); ctx.Err() != nil {
				others <- nil
				return
			}
		}
	}()
	id := uint64(1)
	for name, m := range hostile() {
		id = longSession(id+1, 8, 60)
		t.Run(name, func(t *testing.T) {
			s, err := r.conn.NewStream(t.Context(), &outriderv1.DecodeService_ServiceDesc.Streams[0],
				outriderv1.DecodeService_Decode_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
			if err != nil {
				t.Fatal(err)
			}
			o := &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: open(id, promptOf(id, 8), 60)}}
			if err := s.SendMsg(o); err != nil {
				t.Fatal(err)
			}
			if err := s.RecvMsg(&outriderv1.DecodeResponse{}); err != nil {
				t.Fatal(err)
			}
			_ = s.SendMsg(m)
			for err == nil {
				err = s.RecvMsg(&outriderv1.DecodeResponse{})
			}
			want := []codes.Code{codes.InvalidArgument}
			if _, raw := m.([]byte); raw { // what gRPC itself cannot read has gRPC's own status
				want = append(want, codes.ResourceExhausted, codes.Internal)
			}
			if st := status.Convert(err); !slices.Contains(want, st.Code()) || len(st.Message()) > 300 || retryInfo(err) != 0 {
				t.Errorf("got %v, want one of %v", err, want)
			}
		})
	}
	stop()
	if err := <-others; err != nil {
		t.Error(err)
	}
	r.empty()
}

// TestFloodSlowsItselfOnly sends one proposal over and over, as fast as the stream takes them.
func TestFloodSlowsItselfOnly(t *testing.T) {
	r := start(t, newToy(), Config{Credit: 4})
	id := longSession(1, 8, 60)
	s := r.opened(open(id, promptOf(id, 8), 60))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			if s.Send(proposal(&outriderv1.Propose{Epoch: 3, Tokens: []uint32{1, 2, 3}})) != nil {
				return
			}
		}
		_ = s.CloseSend()
	}()
	for i := range uint64(5) {
		n := newNaive(t, open(50+i, promptOf(50+i, 8), 60))
		if err := n.run(t.Context(), r.c); err != nil {
			t.Fatal(err)
		}
		n.check()
	}
	if u := lastCommit(t, s).GetUsage(); u.GetDrafted() != 3 {
		t.Errorf("usage %v, want 3 nodes: the rest were duplicates", u)
	}
	<-done
	r.empty()
}

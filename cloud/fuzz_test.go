package cloud

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func seedFrames(f *testing.F) {
	f.Helper()
	for _, m := range hostile() {
		switch m := m.(type) {
		case []byte:
			f.Add(m[:min(len(m), 64)])
		case proto.Message:
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	b, err := proto.Marshal(proposal(&outriderv1.Propose{Epoch: 8, Tokens: []uint32{1, 2, 3}, Parents: []uint32{0, 1, 1}, Confidence: []byte{9, 0, 255}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, p := range dishonest() {
		if b, err = proto.Marshal(proposal(p)); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzOpen: whatever the bytes, an Open is refused with a short status or valid in every respect.
func FuzzOpen(f *testing.F) {
	seedFrames(f)
	info := newToy().info
	c := Config{Targets: []Target{{Name: "toy", Model: newToy()}}}
	if err := c.defaults(); err != nil {
		f.Fatal(err)
	}
	t0 := Target{Name: "toy", Bytes: func(backend.Token) []byte { return nil }}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m outriderv1.DecodeRequest
		if proto.Unmarshal(b, &m) != nil || m.GetOpen() == nil {
			return
		}
		o := m.GetOpen()
		r, err := checkOpen(o, t0, info, &c)
		if err != nil {
			st := status.Convert(err)
			if (st.Code() != codes.InvalidArgument && st.Code() != codes.FailedPrecondition) || len(st.Message()) > 4096 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if proto.Size(&m) > maxFrame(info.ContextLength)+proto.Size(&outriderv1.Open{Model: o.GetModel()})+len(m.ProtoReflect().GetUnknown())+len(o.ProtoReflect().GetUnknown())+1<<12 {
			t.Fatalf("a valid open of %d bytes would not fit into a frame", proto.Size(&m))
		}
		n := r.setup.PromptLength
		if n < 1 || n > len(r.tokens) || r.maxLen <= n || r.maxLen > info.ContextLength || len(r.tokens) > r.maxLen ||
			r.passes <= 0 || r.passes > 1 || r.deadline < 0 || r.setup.Params.Validate() != nil {
			t.Fatalf("taken: %+v", r)
		}
		for _, tok := range r.tokens {
			if tok < 0 || int(tok) >= info.VocabularySize {
				t.Fatalf("token %d was taken", tok)
			}
		}
	})
}

// FuzzSession feeds two messages to a session in the middle of its text: it ends with InvalidArgument
// or keeps its bounds.
func FuzzSession(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		log := promptOf(1, 8)
		s := &session{notify: make(chan struct{}, 1), setup: backend.Setup{Rule: speculative.Rule{Kind: speculative.Rejection}}, out: outbox{sent: 9}, acked: 8, v: speculative.NewVerifier(speculative.VerifierConfig{
			PromptLength: 8, Window: 32, Credit: 4, Ending: speculative.Ending{MaxLength: 60}}, log)}
		for range 2 { // the second is a duplicate
			var m outriderv1.DecodeRequest
			if proto.Unmarshal(b, &m) != nil {
				return
			}
			if err := s.handle(&m, 1, 50, 32); err != nil {
				if status.Code(err) != codes.InvalidArgument {
					t.Fatalf("refused with %v", err)
				}
				return
			}
			if s.v.Pending() > 32 || s.acked > s.out.length() {
				t.Fatalf("%d nodes pending, %d acknowledged of %d", s.v.Pending(), s.acked, s.out.length())
			}
			if o := s.v.Offer(2, 100); o.Ready && o.Prefill == 0 {
				seg := s.v.Begin(len(o.Values))
				for i, p := range seg.Parents {
					if int(p) >= i {
						t.Fatalf("row %d hangs to row %d", i, p)
					}
				}
				s.v.Discard(seg, false)
			}
		}
	})
}

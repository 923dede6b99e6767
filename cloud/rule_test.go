package cloud

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// dishonest are proposals whose distributions are none.
func dishonest() map[string]*outriderv1.Propose {
	drawn := func(q ...*outriderv1.Sparse) *outriderv1.Propose {
		return &outriderv1.Propose{Epoch: 8, Tokens: []uint32{1}, DrawnFrom: q}
	}
	many := &outriderv1.Sparse{Weights: make([]byte, 1000)}
	for i := range uint32(999) {
		many.Tokens = append(many.Tokens, i+2)
	}
	return map[string]*outriderv1.Propose{
		"weightless draw":       drawn(&outriderv1.Sparse{Tokens: []uint32{2}, Weights: []byte{0, 1}}),
		"weightless other":      drawn(&outriderv1.Sparse{Tokens: []uint32{2}, Weights: []byte{1, 0}}),
		"no weights":            drawn(&outriderv1.Sparse{Tokens: []uint32{2}}),
		"weights only":          drawn(&outriderv1.Sparse{Weights: []byte{1}}),
		"twice":                 drawn(&outriderv1.Sparse{Tokens: []uint32{2, 2}, Weights: []byte{1, 1, 1}}),
		"the drawn again":       drawn(&outriderv1.Sparse{Tokens: []uint32{1}, Weights: []byte{1, 1}}),
		"beyond the vocabulary": drawn(&outriderv1.Sparse{Tokens: []uint32{50}, Weights: []byte{1, 1}}),
		"huge token":            drawn(&outriderv1.Sparse{Tokens: []uint32{1<<32 - 1}, Weights: []byte{1, 1}}),
		"too many":              drawn(many),
		"two for one token":     drawn(&outriderv1.Sparse{}, &outriderv1.Sparse{}),
	}
}

// A distribution that is none ends its session as any malformed message does; honest ones do not.
func TestDishonestDistributions(t *testing.T) {
	open := func() *session {
		return &session{notify: make(chan struct{}, 1), setup: backend.Setup{Rule: speculative.Rule{Kind: speculative.Rejection}}, out: outbox{sent: 8}, acked: 8,
			packed: speculative.Unpacker{Bits: 6, Window: 32, Drawn: true},
			v:      speculative.NewVerifier(speculative.VerifierConfig{PromptLength: 8, Window: 32, Ending: speculative.Ending{MaxLength: 60}}, promptOf(1, 8))}
	}
	for name, p := range dishonest() {
		if err := open().handle(proposal(p), 1, 50, 32); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range []*outriderv1.Propose{
		{Epoch: 8, Tokens: []uint32{1}},
		{Epoch: 8, Tokens: []uint32{1, 2}, DrawnFrom: []*outriderv1.Sparse{{}, {Tokens: []uint32{1, 3}, Weights: []byte{1, 255, 255}}}},
	} {
		if err := open().handle(proposal(p), 1, 50, 32); err != nil {
			t.Error(err)
		}
	}
	k := speculative.Packer{Bits: 6, Drawn: true}
	for other, ok := range map[speculative.Token]bool{49: true, 50: false, 1: false} {
		k = speculative.Packer{Bits: 6, Drawn: true}
		data, _ := k.Pack(&speculative.Propose{Epoch: 8, Tokens: []speculative.Token{1}, Q: []*speculative.Sparse{{Tokens: []speculative.Token{1, other}, Weights: []uint8{3, 4}}}})
		err := open().handle(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Packed{Packed: data}}, 1, 50, 32)
		if (err == nil) != ok || err != nil && status.Code(err) != codes.InvalidArgument {
			t.Errorf("packed, with token %d: %v", other, err)
		}
	}
}

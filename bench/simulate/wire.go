package simulate

import (
	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// proposeBytes is the size of a proposal on the wire, frames apart.
func proposeBytes(p *speculative.Propose) int {
	m := &outriderv1.Propose{Epoch: uint32(p.Epoch), First: uint32(p.First), Confidence: make([]byte, len(p.Confidence))}
	for _, t := range p.Tokens {
		m.Tokens = append(m.Tokens, uint32(t))
	}
	for _, n := range p.Parents {
		m.Parents = append(m.Parents, uint32(n+1))
	}
	return proto.Size(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Propose{Propose: m}})
}

func ackBytes(n int) int {
	return proto.Size(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Ack{Ack: &outriderv1.Ack{Committed: uint32(n)}}})
}

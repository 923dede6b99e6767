package sweep

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// Plain is one generation by the plain draft-verify loop: draft Depth tokens, send them, wait for the
// verdict.
type Plain struct {
	Draft      backend.Model
	Vocabulary string // fingerprint of the target's
	Sequence   backend.Sequence
	Prompt     []backend.Token
	Tokens     int
	Depth      int
	Params     speculative.Params
}

// PlainResult is how it went.
type PlainResult struct {
	Output []backend.Token
	Total  time.Duration
	Usage  speculative.Usage
	Uplink int // bytes of messages, the opening apart
}

// Run generates over an open connection to a cloud.
func (p Plain) Run(ctx context.Context, conn grpc.ClientConnInterface) (PlainResult, error) {
	l := &loop{c: outriderv1.NewDecodeServiceClient(conn), draft: p.Draft, v: &Variant{Depth: p.Depth}, vocab: p.Vocabulary, seq: p.Sequence,
		log: slices.Clone(p.Prompt), prompt: len(p.Prompt), length: len(p.Prompt) + p.Tokens, params: p.Params}
	err := l.run(ctx)
	return PlainResult{Output: l.o.output, Total: l.o.total, Usage: l.o.usage, Uplink: l.o.uplink}, err
}

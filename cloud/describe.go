package cloud

import (
	"bytes"
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// What tokenizers cost: one message holds chunkBytes; maxGiving are sent at once, others wait; one
// that is not taken within giveTimeout is given up.
const (
	chunkBytes  = 64 << 10
	maxGiving   = 256
	giveTimeout = 5 * time.Minute
)

// DescribeModel implements DecodeService.
func (s *Server) DescribeModel(_ context.Context, m *outriderv1.DescribeModelRequest) (*outriderv1.DescribeModelResponse, error) {
	l, err := s.find(m.GetModel(), "", nil)
	if err != nil {
		return nil, err
	}
	r := &outriderv1.DescribeModelResponse{Target: l.describe(), VocabularySize: uint32(l.info.VocabularySize)}
	for _, t := range l.info.EndTokens {
		r.EndTokens = append(r.EndTokens, uint32(t))
	}
	if p := l.target.Tokenizer; p != nil {
		r.TokenizerBytes, r.TokenizerSize = uint32(len(p.Data)), uint32(p.Size)
	}
	return r, nil
}

// GetTokenizer implements DecodeService.
func (s *Server) GetTokenizer(m *outriderv1.GetTokenizerRequest, stream grpc.ServerStreamingServer[outriderv1.GetTokenizerResponse]) error {
	l, err := s.find(m.GetModel(), "", nil)
	if err != nil {
		return err
	}
	p := l.target.Tokenizer
	if p == nil || !bytes.Equal(p.Digest[:], m.GetTokenizer()) {
		return status.Errorf(codes.NotFound, "target %s has not that tokenizer: ask for its description again", l.target.Name)
	}
	t := time.NewTimer(giveTimeout)
	defer t.Stop()
	select {
	case s.giving <- struct{}{}:
		defer func() { <-s.giving }()
	case <-t.C:
		return retryLater(codes.ResourceExhausted, time.Second, "too many tokenizers are being fetched")
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	// Send blocks while the edge takes nothing; the keepalive ends a dead edge, this a lazy one.
	late := make(chan error, 1)
	go func() { // ends with the stream, which ends when this handler returns
		for rest := p.Data; len(rest) > 0; {
			n := min(len(rest), chunkBytes)
			if err := stream.Send(&outriderv1.GetTokenizerResponse{Data: rest[:n]}); err != nil {
				late <- err
				return
			}
			rest = rest[n:]
		}
		late <- nil
	}()
	select {
	case err := <-late:
		return err
	case <-t.C:
		return status.Errorf(codes.DeadlineExceeded, "the tokenizer was not taken within %s", giveTimeout)
	}
}

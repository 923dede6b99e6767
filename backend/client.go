package backend

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// Client is a Model that speaks to a plugin. Load comes first, once.
type Client struct {
	rpc  outriderv1.BackendServiceClient
	info Info
}

// NewClient returns a client that has not loaded its model yet.
func NewClient(rpc outriderv1.BackendServiceClient) *Client { return &Client{rpc: rpc} }

// Load makes the plugin read the model; progress may be nil. Errors wrap ErrLoad, ErrUnavailable or
// the context's error.
func (c *Client) Load(ctx context.Context, model string, options map[string]string, progress func(float32)) error {
	stream, err := c.rpc.Load(ctx, &outriderv1.LoadRequest{Model: model, Options: options})
	if err != nil {
		return loadError(ctx, err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %w: it described no model", ErrLoad, errMisbehaves)
		}
		if err != nil {
			return loadError(ctx, err)
		}
		if m.GetInfo() != nil {
			if c.info, err = infoFromProto(m.GetInfo()); err != nil {
				return fmt.Errorf("%w: %w", ErrLoad, err)
			}
			_, _ = stream.Recv() // the end; frees the stream
			if progress != nil {
				progress(1)
			}
			return nil
		}
		if progress != nil {
			progress(min(max(m.GetProgress(), 0), 1))
		}
	}
}

func loadError(ctx context.Context, err error) error {
	if s := status.Convert(err); ctx.Err() == nil && s.Code() == codes.FailedPrecondition {
		return &remoteError{ErrLoad, ErrLoad.Error() + ": " + oneLine(s.Message())}
	}
	if s := status.Convert(err); ctx.Err() == nil && s.Code() == codes.Aborted {
		return &remoteError{errNotNow, oneLine(s.Message())}
	}
	return fromStatus(ctx, err)
}

// Info implements Model.
func (c *Client) Info() Info { return c.info }

// Forward implements Model.
func (c *Client) Forward(ctx context.Context, batch []Segment) ([]Result, error) {
	req := &outriderv1.ForwardRequest{Segments: make([]*outriderv1.Segment, len(batch))}
	for i := range batch {
		req.Segments[i] = segmentToProto(&batch[i])
	}
	resp, err := c.rpc.Forward(ctx, req)
	if err != nil {
		return nil, fromStatus(ctx, err)
	}
	out := make([]Result, len(batch))
	for i := range batch {
		if len(resp.GetResults()) != len(batch) {
			out[i].Err = fmt.Errorf("%w: %d results for %d segments", errMisbehaves, len(resp.GetResults()), len(batch))
			continue
		}
		out[i] = resultFromProto(resp.GetResults()[i], max(0, len(batch[i].Tokens)-batch[i].From), c.info.VocabularySize)
	}
	return out, nil
}

// Draft implements Model.
func (c *Client) Draft(ctx context.Context, req DraftRequest, emit func(speculative.Choice) bool) error {
	stop, cancel := context.WithCancel(ctx)
	defer cancel() // tells the plugin to stop
	stream, err := c.rpc.Draft(stop, &outriderv1.DraftRequest{Segment: segmentToProto(&req.Segment),
		MaxTokens: uint32(max(0, req.MaxTokens)), MinPath: req.MinPath})
	for err == nil {
		var m *outriderv1.DraftResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		if e := errorFromProto(m.GetError(), m.GetMessage()); e != nil {
			return e
		}
		choice, e := choiceFromProto(m.GetChoice(), c.info.VocabularySize)
		if e != nil {
			return e
		}
		if !emit(choice) {
			return nil
		}
	}
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return nil
	}
	return fromStatus(ctx, err)
}

// Release implements Model.
func (c *Client) Release(ctx context.Context, sequences []Sequence) error {
	m := &outriderv1.ReleaseRequest{Sequences: make([]uint64, len(sequences))}
	for i, s := range sequences {
		m.Sequences[i] = uint64(s)
	}
	if _, err := c.rpc.Release(ctx, m); err != nil {
		return fromStatus(ctx, err)
	}
	return nil
}

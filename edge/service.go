package edge

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// service implements EdgeService.
type service struct {
	outriderv1.UnimplementedEdgeServiceServer
	e *Edge
}

// NewService puts an Edge behind gRPC.
func NewService(e *Edge) outriderv1.EdgeServiceServer { return &service{e: e} }

// Generate implements EdgeService.
func (s *service) Generate(m *outriderv1.GenerateRequest, stream grpc.ServerStreamingServer[outriderv1.GenerateResponse]) error {
	r, err := RequestFromProto(m)
	if err != nil {
		return StatusError(err)
	}
	sum, err := s.e.Generate(stream.Context(), r, func(e Event) error { return stream.Send(EventToProto(e)) })
	if err != nil {
		return StatusError(err)
	}
	return stream.Send(&outriderv1.GenerateResponse{Summary: SummaryToProto(sum)})
}

// Status implements EdgeService.
func (s *service) Status(ctx context.Context, _ *outriderv1.StatusRequest) (*outriderv1.StatusResponse, error) {
	st, err := s.e.Status(ctx)
	if err != nil {
		return nil, StatusError(err)
	}
	return &outriderv1.StatusResponse{Draft: st.Draft, DraftNumerics: st.DraftNumerics, Targets: st.Targets, Note: st.Note}, nil
}

// StatusError gives an error of this package its gRPC code.
func StatusError(err error) error {
	code := codes.Unknown
	switch {
	case errors.Is(err, ErrRequest):
		code = codes.InvalidArgument
	case errors.Is(err, ErrNoCloud), errors.Is(err, ErrClosed):
		code = codes.Unavailable
	case errors.Is(err, ErrVocabulary), errors.Is(err, ErrRefused), errors.Is(err, ErrDevice):
		code = codes.FailedPrecondition
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	default:
		if st, ok := status.FromError(err); ok {
			return st.Err()
		}
	}
	return status.Error(code, err.Error())
}

// RequestFromProto converts and validates a request. Errors wrap ErrRequest.
func RequestFromProto(m *outriderv1.GenerateRequest) (Request, error) {
	p, err := backend.SamplingFromProto(m.GetSampling())
	if err != nil {
		return Request{}, requestError("%s", oneLine(err.Error()))
	}
	r := Request{Prompt: m.GetPrompt(), Model: m.GetModel(), Params: p, MaxTokens: int(min(m.GetMaxTokens(), 1<<30)), Stop: m.GetStop(),
		IgnoreEnd: m.GetIgnoreEnd(), Fallback: Fallback(min(max(m.GetFallback(), 0), 255)),
		Deadline:          time.Duration(m.GetDeadlineMs()) * time.Millisecond,
		MaxPassesPerToken: float64(m.GetRunAhead().GetMaxPassesPerToken()), NoDraft: m.GetNoDraft(), User: m.GetUser(), Pending: true,
		Logprobs: int(min(m.GetLogprobs(), 1<<30)), Mode: Mode(min(max(m.GetMode(), 0), 255)),
		Privacy: Privacy(min(max(m.GetPrivacy(), 0), 255))}
	r.Objective = speculative.Objective(min(max(m.GetObjective(), 0), 255))
	if r.Rule, err = backend.RuleFromProto(m.GetRule()); err != nil {
		return Request{}, requestError("%s", oneLine(err.Error()))
	}
	if c := backend.ConstraintFromProto(m.GetConstraint()); m.GetConstraint() != nil {
		r.Constraint = &c
	}
	for _, t := range m.GetConversation().GetMessages() {
		r.Messages = append(r.Messages, Message{Role: t.GetRole(), Content: t.GetContent()})
	}
	return r, r.validate()
}

func progressToProto(p Progress) *outriderv1.Progress {
	us := func(d time.Duration) uint64 { return uint64(max(0, d.Microseconds())) }
	return &outriderv1.Progress{AtUs: us(p.At), Linked: p.Linked, Alone: p.Alone, Depth: uint32(p.Depth), Passes: uint32(p.Passes),
		StepUs: us(p.Step), PlainUs: us(p.Plain), UplinkBytes: uint64(p.Uplink), DownlinkBytes: uint64(p.Downlink),
		Resumes: uint32(p.Resumes), RttUs: us(p.RTT), Where: p.Where}
}

// EventToProto converts an event for the wire.
func EventToProto(e Event) *outriderv1.GenerateResponse {
	m := &outriderv1.GenerateResponse{Pending: e.Pending, Tail: e.Tail, Progress: progressToProto(e.Progress)}
	for _, t := range e.Tokens {
		m.Tokens = append(m.Tokens, &outriderv1.GeneratedToken{Id: uint32(t.ID), Text: t.Text, Fate: outriderv1.Fate(t.Fate),
			Late: t.Late, Unverified: t.Unverified, Logprobs: t.logprobs()})
	}
	return m
}

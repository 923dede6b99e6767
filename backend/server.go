package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// Loader is an engine's way to load a model. progress takes 0 to 1 and is never nil. The Model may
// implement io.Closer.
type Loader func(ctx context.Context, model string, options map[string]string, progress func(float32)) (Model, error)

// Server publishes an engine as BackendService. It checks every number that comes in, so that an
// engine is given only what the contract allows.
type Server struct {
	outriderv1.UnimplementedBackendServiceServer
	load Loader

	mu      sync.Mutex
	loading bool
	model   Model
	info    Info
	drafts  map[Sequence]*draft
	log     *slog.Logger
	names   names
}

// draft is a Draft under way; whoever uses its sequence next ends it first.
type draft struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// NewServer returns a server without a model: the host calls Load.
func NewServer(load Loader) *Server {
	return &Server{load: load, drafts: map[Sequence]*draft{}, log: slog.New(slog.DiscardHandler), names: names{of: map[Sequence]string{}}}
}

// Close closes the model if it can be closed.
func (s *Server) Close() error {
	s.mu.Lock()
	m := s.model
	s.model = nil
	s.mu.Unlock()
	if c, ok := m.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Load implements BackendService.
func (s *Server) Load(req *outriderv1.LoadRequest, stream outriderv1.BackendService_LoadServer) error {
	s.mu.Lock()
	again := s.loading
	s.loading = true
	s.mu.Unlock()
	if again {
		return status.Error(codes.AlreadyExists, "this plugin has a model already, load another one in another process")
	}
	p := &progress{stream: stream}
	m, err := s.load(stream.Context(), req.GetModel(), req.GetOptions(), p.report)
	p.end()
	if err == nil {
		err = checkInfo(m.Info())
	}
	if err != nil {
		if e := stream.Context().Err(); e != nil {
			return status.FromContextError(e).Err()
		}
		if errors.Is(err, ErrUnavailable) { // what the model runs on does not answer: try again
			return status.Error(codes.Aborted, detail(err, ErrUnavailable))
		}
		return status.Error(codes.FailedPrecondition, detail(err, ErrLoad))
	}
	s.mu.Lock()
	s.model, s.info = m, m.Info()
	s.mu.Unlock()
	return stream.Send(&outriderv1.LoadResponse{Progress: 1, Info: infoToProto(&s.info)})
}

func checkInfo(i Info) error {
	for _, v := range []int{i.ContextLength, i.VocabularySize, i.Sequences, i.KVTokens} {
		if v <= 0 || v > math.MaxInt32 {
			return fmt.Errorf("the engine reports a context of %d, a vocabulary of %d, %d sequences and %d KV rows",
				i.ContextLength, i.VocabularySize, i.Sequences, i.KVTokens)
		}
	}
	return nil
}

// progress sends what an engine reports, from whatever goroutine, until Load has returned.
type progress struct {
	mu     sync.Mutex
	stream outriderv1.BackendService_LoadServer
	last   float32
	ended  bool
}

func (p *progress) report(v float32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || v < p.last+0.01 {
		return
	}
	p.last = v
	_ = p.stream.Send(&outriderv1.LoadResponse{Progress: v}) // a host that is gone ends the process elsewhere
}

func (p *progress) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
}

func (s *Server) loaded() (Model, *Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.model == nil {
		return nil, nil, status.Error(codes.FailedPrecondition, "no model is loaded: call Load first")
	}
	return s.model, &s.info, nil
}

// Forward implements BackendService.
func (s *Server) Forward(ctx context.Context, req *outriderv1.ForwardRequest) (*outriderv1.ForwardResponse, error) {
	model, info, err := s.loaded()
	if err != nil {
		return nil, err
	}
	n := len(req.GetSegments())
	out := make([]*outriderv1.SegmentResult, n)
	batch, place := make([]Segment, 0, n), make([]int, 0, n)
	seen := make(map[Sequence]struct{}, n)
	for i, m := range req.GetSegments() {
		seg, err := segmentFromProto(m, info)
		if _, twice := seen[seg.Sequence]; err == nil && twice {
			err = invalid("sequence %d comes twice in the batch", seg.Sequence)
		}
		seen[seg.Sequence] = struct{}{}
		if err != nil {
			out[i] = resultToProto(Result{Err: err}, 0)
			continue
		}
		batch, place = append(batch, seg), append(place, i)
	}
	if len(batch) == 0 {
		return &outriderv1.ForwardResponse{Results: out}, nil
	}
	if err := s.endDrafts(ctx, seen); err != nil {
		return nil, err
	}
	s.begins(ctx, batch)
	results, err := model.Forward(ctx, batch)
	if err == nil && len(results) != len(batch) {
		err = fmt.Errorf("the engine returned %d results for %d segments", len(results), len(batch))
	}
	if err != nil {
		return nil, callError(ctx, err)
	}
	for j, r := range results {
		s.failed(&batch[j], r.Err)
		out[place[j]] = resultToProto(r, len(batch[j].Tokens)-batch[j].From)
	}
	return &outriderv1.ForwardResponse{Results: out}, nil
}

// Draft implements BackendService.
func (s *Server) Draft(req *outriderv1.DraftRequest, stream outriderv1.BackendService_DraftServer) error {
	model, info, err := s.loaded()
	if err != nil {
		return err
	}
	seg, err := segmentFromProto(req.GetSegment(), info)
	switch {
	case err != nil:
	case seg.Parents != nil:
		err = invalid("drafting goes on from a chain, not from a tree")
	case !(req.GetMinPath() >= 0 && req.GetMinPath() <= 1):
		err = invalid("min_path is %g, must be between 0 and 1", req.GetMinPath())
	}
	if err != nil {
		return sendDraftError(stream, err)
	}
	ctx, end, err := s.beginDraft(stream.Context(), seg.Sequence)
	if err != nil {
		return err
	}
	defer end()
	s.begins(ctx, []Segment{seg})
	var sent error
	err = model.Draft(ctx, DraftRequest{Segment: seg, MaxTokens: int(min(req.GetMaxTokens(), math.MaxInt32)), MinPath: req.GetMinPath()},
		func(c speculative.Choice) bool {
			sent = stream.Send(&outriderv1.DraftResponse{Choice: choicesToProto([]speculative.Choice{c})[0]})
			return sent == nil
		})
	if err != nil && !errors.Is(err, context.Canceled) {
		s.failed(&seg, err)
		return sendDraftError(stream, err)
	}
	return sent
}

func sendDraftError(stream outriderv1.BackendService_DraftServer, err error) error {
	code, text := errorToProto(err)
	return stream.Send(&outriderv1.DraftResponse{Error: code, Message: text})
}

// beginDraft registers a Draft once an older one on the sequence has ended. end is to be called when
// the engine has returned.
func (s *Server) beginDraft(ctx context.Context, seq Sequence) (_ context.Context, end func(), err error) {
	for {
		s.mu.Lock()
		old := s.drafts[seq]
		if old == nil {
			ctx, cancel := context.WithCancel(ctx)
			d := &draft{cancel, make(chan struct{})}
			s.drafts[seq] = d
			s.mu.Unlock()
			return ctx, func() { s.endDraft(seq, d) }, nil
		}
		s.mu.Unlock()
		if err := old.end(ctx); err != nil {
			return nil, nil, err
		}
	}
}

func (s *Server) endDraft(seq Sequence, d *draft) {
	d.cancel()
	s.mu.Lock()
	delete(s.drafts, seq)
	s.mu.Unlock()
	close(d.done)
}

func (d *draft) end(ctx context.Context) error {
	d.cancel()
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// endDrafts ends what is drafting on any of the sequences, so that a drafter which the host has
// already left cannot append to rows that the host now counts on.
func (s *Server) endDrafts(ctx context.Context, sequences map[Sequence]struct{}) error {
	var under []*draft
	s.mu.Lock()
	for seq, d := range s.drafts {
		if _, ok := sequences[seq]; ok {
			under = append(under, d)
		}
	}
	s.mu.Unlock()
	for _, d := range under {
		if err := d.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Release implements BackendService.
func (s *Server) Release(ctx context.Context, req *outriderv1.ReleaseRequest) (*outriderv1.ReleaseResponse, error) {
	model, _, err := s.loaded()
	if err != nil {
		return nil, err
	}
	out, set := make([]Sequence, len(req.GetSequences())), make(map[Sequence]struct{}, len(req.GetSequences()))
	for i, q := range req.GetSequences() {
		out[i], set[Sequence(q)] = Sequence(q), struct{}{}
	}
	if err := s.endDrafts(ctx, set); err != nil {
		return nil, err
	}
	if err := model.Release(ctx, out); err != nil {
		return nil, callError(ctx, err)
	}
	s.names.drop(out)
	return &outriderv1.ReleaseResponse{}, nil
}

package edge

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// script is a cloud that says what it is told to.
type script struct {
	outriderv1.UnimplementedDecodeServiceServer
	say func(n int, o *outriderv1.Open) ([]*outriderv1.DecodeResponse, error)
	n   int
}

type decodeStream = grpc.BidiStreamingServer[outriderv1.DecodeRequest, outriderv1.DecodeResponse]

func (s *script) Decode(stream decodeStream) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	s.n++ // one session at a time
	out, err := s.say(s.n, m.GetOpen())
	for _, m := range out {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return err
}

func openedMessage() *outriderv1.DecodeResponse {
	return &outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Opened{Opened: &outriderv1.Opened{Credit: 32, Window: 32,
		Exact: true, Target: &outriderv1.TargetInfo{Name: "big", Vocabulary: "toy", ContextLength: 512, Numerics: "n"}}}}
}

func commitMessage(start int, tokens ...uint32) *outriderv1.DecodeResponse {
	c := &outriderv1.Commit{Start: uint32(start), Tokens: tokens}
	for range tokens {
		c.Fates = append(c.Fates, outriderv1.Fate_FATE_RUN_AHEAD)
	}
	return &outriderv1.DecodeResponse{Message: &outriderv1.DecodeResponse_Commit{Commit: c}}
}

func last(m *outriderv1.DecodeResponse, f outriderv1.Finish) *outriderv1.DecodeResponse {
	m.GetCommit().Finish = f
	return m
}

func scripted(t *testing.T, say func(n int, o *outriderv1.Open) ([]*outriderv1.DecodeResponse, error)) *Edge {
	t.Helper()
	return scriptedWith(t, Config{Vocabulary: "toy", Draft: newToy(20)}, say)
}

func scriptedWith(t *testing.T, c Config, say func(n int, o *outriderv1.Open) ([]*outriderv1.DecodeResponse, error)) *Edge {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gs := grpc.NewServer()
	outriderv1.RegisterDecodeServiceServer(gs, &script{say: say})
	done := make(chan struct{})
	go func() { defer close(done); _ = gs.Serve(l) }()
	t.Cleanup(func() { gs.Stop(); <-done })
	c.Cloud = l.Addr().String()
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func TestHostileCloud(t *testing.T) {
	wrong := func(change func(*outriderv1.Commit)) *outriderv1.DecodeResponse {
		m := commitMessage(10, 1)
		change(m.GetCommit())
		return m
	}
	for name, c := range map[string]struct {
		say []*outriderv1.DecodeResponse
		is  error
	}{
		"gap":            {[]*outriderv1.DecodeResponse{openedMessage(), commitMessage(12, 1)}, speculative.ErrProtocol},
		"diverged":       {[]*outriderv1.DecodeResponse{openedMessage(), commitMessage(10, 1), commitMessage(10, 2)}, speculative.ErrDiverged},
		"not opened":     {[]*outriderv1.DecodeResponse{commitMessage(10, 1)}, speculative.ErrProtocol},
		"too many":       {[]*outriderv1.DecodeResponse{openedMessage(), commitMessage(10, make([]uint32, 30)...)}, speculative.ErrProtocol},
		"token":          {[]*outriderv1.DecodeResponse{openedMessage(), commitMessage(10, 1<<31)}, speculative.ErrProtocol},
		"no fates":       {[]*outriderv1.DecodeResponse{openedMessage(), wrong(func(c *outriderv1.Commit) { c.Fates = nil })}, speculative.ErrProtocol},
		"unknown fate":   {[]*outriderv1.DecodeResponse{openedMessage(), wrong(func(c *outriderv1.Commit) { c.Fates[0] = 99 })}, speculative.ErrProtocol},
		"negative fate":  {[]*outriderv1.DecodeResponse{openedMessage(), wrong(func(c *outriderv1.Commit) { c.Fates[0] = -1 })}, speculative.ErrProtocol},
		"unknown finish": {[]*outriderv1.DecodeResponse{openedMessage(), wrong(func(c *outriderv1.Commit) { c.Finish = 99 })}, speculative.ErrProtocol},
		"far start":      {[]*outriderv1.DecodeResponse{openedMessage(), commitMessage(1<<32-1, 1)}, speculative.ErrProtocol},
		"no target":      {[]*outriderv1.DecodeResponse{{Message: &outriderv1.DecodeResponse_Opened{Opened: &outriderv1.Opened{}}}}, ErrVocabulary},
		"empty":          {[]*outriderv1.DecodeResponse{openedMessage(), {}}, ErrNoCloud}, // nothing but ends: asked again, in vain
	} {
		config := Config{Vocabulary: "toy", Draft: newToy(20)}
		if errors.Is(c.is, ErrNoCloud) {
			config.FallbackAfter = 200 * time.Millisecond
		}
		e := scriptedWith(t, config, func(int, *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) { return c.say, nil })
		_, err := e.Generate(t.Context(), request(1, 20), (&collect{}).emit)
		if !errors.Is(err, c.is) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Streams that end without a word, or with a status that another try may mend, are opened again; the
// incarnation rises, and the log goes with it.
func TestReopen(t *testing.T) {
	for _, end := range []error{nil, status.Error(codes.Unavailable, "x"), status.Error(codes.Aborted, "x"),
		status.Error(codes.Internal, "x"), status.Error(codes.Canceled, "x"), status.Error(codes.DeadlineExceeded, "x")} {
		e := scripted(t, func(n int, o *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
			if int(o.GetStream()) != n || len(o.GetTokens()) != 9+n || o.GetPromptLength() != 10 || (n > 1) != (o.GetNumerics() == "n") {
				return nil, status.Errorf(codes.InvalidArgument, "stream %d: %d tokens, numerics %q", o.GetStream(), len(o.GetTokens()), o.GetNumerics())
			}
			m := commitMessage(9+n, uint32(n))
			if n == 4 {
				return []*outriderv1.DecodeResponse{openedMessage(), last(m, outriderv1.Finish_FINISH_END)}, nil
			}
			return []*outriderv1.DecodeResponse{openedMessage(), m}, end
		})
		c := &collect{}
		s, err := e.Generate(t.Context(), request(1, 20), c.emit)
		if err != nil || len(c.tokens) != 4 || s.Resumes != 3 || s.Finish != speculative.FinishEnd {
			t.Errorf("after %v: %v, %v, %+v", end, err, c.tokens, s)
		}
	}
}

func TestPermanentStatus(t *testing.T) {
	for code, is := range map[codes.Code]error{codes.InvalidArgument: ErrRequest, codes.FailedPrecondition: ErrVocabulary,
		codes.NotFound: ErrRefused, codes.Unauthenticated: ErrRefused, codes.PermissionDenied: ErrRefused,
		codes.Unimplemented: ErrRefused, codes.ResourceExhausted: ErrRefused} {
		e := scripted(t, func(n int, _ *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
			if n > 1 {
				t.Errorf("%s: asked again", code)
			}
			return nil, status.Error(code, "two\nlines")
		})
		_, err := e.Generate(t.Context(), request(1, 20), (&collect{}).emit)
		if !errors.Is(err, is) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// A prompt that is beyond the cloud's largest message is the request's fault, not the cloud's.
func TestPromptBeyondTheMessageLimit(t *testing.T) {
	e := scripted(t, func(int, *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "grpc: received message larger than max (7900114 vs. 1467184)")
	})
	_, err := e.Generate(t.Context(), request(1, 20), (&collect{}).emit)
	if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "context") {
		t.Errorf("%v, want ErrRequest about the context", err)
	}
}

// A cloud that opens sessions and drops them, over and over, counts as out of reach in the end.
func TestCloudWithoutProgress(t *testing.T) {
	t.Parallel()
	c := Config{Vocabulary: "toy", FallbackAfter: 2500 * time.Millisecond}
	e := scriptedWith(t, c, func(int, *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
		return []*outriderv1.DecodeResponse{openedMessage()}, nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	_, err := e.Generate(ctx, request(1, 20), (&collect{}).emit)
	wantError(t, err, ErrNoCloud)
}

// A stop string may begin in what the target said and end in what the draft says alone.
func TestStopAcrossTheFallback(t *testing.T) {
	tok := demoTokenizer(t)
	draft := newToy(0)
	draft.info.VocabularySize, draft.info.Vocabulary, draft.info.EndTokens = tok.Size(), tok.Fingerprint(), tok.EndTokens()
	input, verified := prompt(1, 10), tok.Encode("abc", tokenizer.Options{})
	req := Request{Tokens: input, MaxTokens: 30, Fallback: FallbackDraft}
	next := ""
	for ; next == "" || strings.Contains(next, "\ufffd"); req.Params.Seed++ {
		p := req.Params
		p.Seed++
		next = tok.Decode([]Token{draft.next(backend.Setup{Params: p, PromptLength: 10}, slices.Concat(input, verified)).Token})
	}
	req.Stop = []string{"bc" + next}
	e := scriptedWith(t, Config{Tokenizer: tok, Draft: draft, FallbackAfter: 500 * time.Millisecond},
		func(n int, _ *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
			if n > 1 {
				return nil, status.Error(codes.Unavailable, "gone")
			}
			o := openedMessage()
			o.GetOpened().Target.Vocabulary = tok.Fingerprint()
			return []*outriderv1.DecodeResponse{o, commitMessage(10, tokensToProto(verified)...)}, nil
		})
	c := &collect{}
	s, err := e.Generate(t.Context(), req, c.emit)
	if err != nil || c.text != "a" || s.Finish != speculative.FinishStop || s.Unverified != 1 || len(c.tokens) != len(verified)+1 {
		t.Errorf("error %v, text %q with stop %q, %+v", err, c.text, req.Stop, s)
	}
}

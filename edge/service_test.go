package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/outrider-llm/outrider/bench/link"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// face serves an edge and returns a client of it.
func face(t *testing.T, e *Edge) outriderv1.EdgeServiceClient {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	gs := grpc.NewServer()
	outriderv1.RegisterEdgeServiceServer(gs, NewService(e))
	done := make(chan struct{})
	go func() { defer close(done); _ = gs.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///edge", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); gs.Stop(); <-done })
	return outriderv1.NewEdgeServiceClient(conn)
}

func TestService(t *testing.T) {
	tok := demoTokenizer(t)
	reg := prometheus.NewRegistry()
	r := newRig(t, link.Config{RTT: time.Millisecond}, textual(tok), func(r *rig) {
		r.target.step, r.config.Metrics = time.Millisecond, NewMetrics(reg)
	})
	client := face(t, r.edge)
	stream, err := client.Generate(t.Context(), &outriderv1.GenerateRequest{
		Input:    &outriderv1.GenerateRequest_Prompt{Prompt: "Hello"},
		Sampling: &outriderv1.Sampling{Seed: 3}, MaxTokens: 30})
	if err != nil {
		t.Fatal(err)
	}
	text, tokens := "", []Token{}
	var sum *outriderv1.Summary
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range m.GetTokens() {
			text, tokens = text+k.GetText(), append(tokens, Token(k.GetId()))
		}
		text += m.GetTail()
		if m.GetSummary() != nil {
			sum = m.GetSummary()
		}
	}
	input := tok.Encode("Hello", tokenizer.Options{AddBOS: tok.AddBOS()})
	want, _ := cutAt(tok, r.target.oracle(speculative.Params{Seed: 3}, input, len(input)+30), nil)
	if s := SummaryFromProto(sum); text != want || s.Tokens != len(tokens) || !s.Exact || s.Finish == speculative.NotFinished ||
		s.FirstToken <= 0 || s.Total < s.FirstToken || s.PromptTokens != len(input) {
		t.Errorf("got %q, want %q; summary %+v", text, want, s)
	}
	st, err := client.Status(t.Context(), &outriderv1.StatusRequest{})
	if err != nil || st.GetDraft() != "toy" || len(st.GetTargets()) != 1 || st.GetNote() != "" {
		t.Errorf("status %v, error %v", st, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		seen[f.GetName()] = true
	}
	for _, name := range []string{"requests_total", "tokens_total", "nodes_total", "link_bytes_total", "time_per_output_token_seconds",
		"time_to_first_token_seconds", "commit_queue_seconds", "commit_score_seconds", "commit_load_sessions", "draft_seconds"} {
		if !seen["outrider_edge_"+name] {
			t.Errorf("no metric %s", name)
		}
	}
}

func TestServiceErrors(t *testing.T) {
	r := newRig(t, link.Config{}, textual(demoTokenizer(t)), func(r *rig) { r.config.FallbackAfter = time.Second })
	client := face(t, r.edge)
	try := func(m *outriderv1.GenerateRequest) codes.Code {
		stream, err := client.Generate(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		return status.Code(err)
	}
	text := &outriderv1.GenerateRequest_Prompt{Prompt: "Hello"}
	for name, c := range map[string]struct {
		m    *outriderv1.GenerateRequest
		want codes.Code
	}{
		"empty":       {&outriderv1.GenerateRequest{}, codes.InvalidArgument},
		"temperature": {&outriderv1.GenerateRequest{Input: text, Sampling: &outriderv1.Sampling{Temperature: -1}}, codes.InvalidArgument},
		"fallback":    {&outriderv1.GenerateRequest{Input: text, Fallback: 77}, codes.InvalidArgument},
		"negative":    {&outriderv1.GenerateRequest{Input: text, Fallback: -1, MaxTokens: 1}, codes.OK},
	} {
		if got := try(c.m); got != c.want && !(c.want == codes.OK && got == codes.Unknown) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	r.cloud.kill()
	if got := try(&outriderv1.GenerateRequest{Input: text, MaxTokens: 5}); got != codes.Unavailable {
		t.Errorf("no cloud: %s", got)
	}
}

package openai

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// newStack is an edge with a mock draft before a cloud with a mock target, all in this process, that
// share the vocabulary of the embedded models. options are the target's.
func newStack(t *testing.T, options map[string]string) *edge.Edge {
	t.Helper()
	tok := demoTokenizer(t)
	all := map[string]string{"vocab": fmt.Sprint(tok.Size()), "vocabulary": tok.Fingerprint(), "context": "400", "end_after": "24", "name": "mock"}
	for k, v := range options {
		all[k] = v
	}
	target, err := mock.Load(t.Context(), "", all, func(float32) {})
	if err != nil {
		t.Fatal(err)
	}
	all["agreement"], all["name"] = "0.8", "mock-draft"
	delete(all, "step")
	draft, err := mock.Load(t.Context(), "", all, func(float32) {})
	if err != nil {
		t.Fatal(err)
	}
	s, err := cloud.NewServer(cloud.Config{Targets: []cloud.Target{{Name: "mock", Model: target, Bytes: tok.Bytes}}})
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 16)
	gs := grpc.NewServer(s.Options()...)
	outriderv1.RegisterDecodeServiceServer(gs, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = gs.Serve(l) }()
	t.Cleanup(func() { gs.Stop(); s.Close(); <-done })
	e, err := edge.New(edge.Config{Draft: draft, Tokenizer: tok, Cloud: "passthrough:///cloud", FallbackAfter: time.Minute,
		Dial: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

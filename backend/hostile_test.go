package backend_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// liar is a plugin that shakes hands well and then lies in one way.
type liar struct {
	plugin.NetRPCUnsupportedPlugin
	outriderv1.UnimplementedBackendServiceServer
	mode string
}

func hostile(mode string) {
	l := &liar{mode: mode}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{ProtocolVersion: backend.ProtocolVersion, MagicCookieKey: backend.CookieKey, MagicCookieValue: backend.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{backend.ProtocolVersion: {backend.PluginName: l}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxSendMsgSize(math.MaxInt32))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

func (l *liar) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	outriderv1.RegisterBackendServiceServer(s, l)
	return nil
}

func (l *liar) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return backend.NewClient(outriderv1.NewBackendServiceClient(c)), nil
}

// meet is a client of a liar in this process, which is much faster than one of another.
func meet(t *testing.T, mode string) *backend.Client {
	t.Helper()
	c, s := plugin.TestPluginGRPCConn(t, false, plugin.PluginSet{backend.PluginName: &liar{mode: mode}})
	t.Cleanup(func() {
		_ = c.Close() // shuts the server down, too
		<-s.DoneCh
	})
	m, err := c.Dispense(backend.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*backend.Client)
}

func (l *liar) Load(_ *outriderv1.LoadRequest, s outriderv1.BackendService_LoadServer) error {
	info := &outriderv1.ModelInfo{Name: "liar", ContextLength: 100, VocabularySize: 100, Sequences: 8, KvTokens: 800}
	switch l.mode {
	case "loads without end":
		for s.Send(&outriderv1.LoadResponse{Progress: float32(math.NaN())}) == nil {
		}
	case "loads in silence":
		<-s.Context().Done()
	case "no model":
		return nil
	case "huge vocabulary":
		info.VocabularySize = math.MaxUint32
	case "end token beyond":
		info.EndTokens = []uint32{100}
	case "long name":
		info.Name = strings.Repeat("x", 1<<20)
	case "huge description":
		info.Name = strings.Repeat("x", 65<<20)
	}
	return s.Send(&outriderv1.LoadResponse{Info: info})
}

func (l *liar) Forward(ctx context.Context, r *outriderv1.ForwardRequest) (*outriderv1.ForwardResponse, error) {
	choice := &outriderv1.Choice{Token: 1, Confidence: 0.5}
	one := &outriderv1.SegmentResult{Choices: []*outriderv1.Choice{choice}}
	out := &outriderv1.ForwardResponse{Results: []*outriderv1.SegmentResult{one}}
	switch l.mode {
	case "token beyond":
		choice.Token = 100
	case "second beyond":
		choice.Second = math.MaxUint32
	case "NaN":
		choice.Confidence = float32(math.NaN())
	case "NaN in logprobs":
		one.Logprobs = []*outriderv1.Logprobs{{Chosen: float32(math.NaN())}}
	case "distribution beyond":
		choice.DrawnFrom = &outriderv1.Sparse{Tokens: []uint32{math.MaxUint32}, Weights: []byte{1, 1}}
	case "too few choices":
		one.Choices = nil
	case "too many choices":
		one.Choices = append(one.Choices, choice)
	case "too many results":
		out.Results = append(out.Results, one)
	case "huge answer":
		one.Message = strings.Repeat("x", 65<<20)
	case "never answers":
		<-ctx.Done()
	case "not now":
		return nil, status.Error(codes.Aborted, "no answer from the server")
	case "unknown status":
		return nil, status.Error(codes.DataLoss, "\x1b[31mred\nlines")
	case "one lies":
		if len(r.GetSegments()) == 2 {
			out.Results = append(out.Results, &outriderv1.SegmentResult{Choices: []*outriderv1.Choice{{Token: 100}}})
		}
	}
	return out, nil
}

func (l *liar) Draft(r *outriderv1.DraftRequest, s outriderv1.BackendService_DraftServer) error {
	c := &outriderv1.Choice{Token: 1, Confidence: 1}
	switch l.mode {
	case "draft beyond":
		c.Token = 100
	case "never drafts":
		<-s.Context().Done()
		return nil
	}
	for s.Send(&outriderv1.DraftResponse{Choice: c}) == nil { // without end
	}
	return nil
}

// TestLiarLoads: a plugin that lies about its model is not used.
func TestLiarLoads(t *testing.T) {
	for mode, says := range map[string]string{
		"loads without end": "progress without end", "no model": "described no model", "huge vocabulary": "a vocabulary of 4294967295",
		"end token beyond": "end tokens", "long name": "a word of 1048576 bytes",
	} {
		t.Run(mode, func(t *testing.T) {
			err := meet(t, mode).Load(background(t), "m", nil, nil)
			if !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
	for mode, says := range map[string]string{"loads in silence": "said nothing for", "huge description": "larger than max"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := self("hostile")
			c.Args = append(c.Args, mode)
			if mode == "loads in silence" {
				c.LoadTimeout = 100 * time.Millisecond
			}
			h, err := backend.Launch(background(t), c)
			if err == nil {
				_ = h.Close()
				t.Fatal("it was believed")
			}
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestLiarPasses: each answer that makes no sense fails with a word on why.
func TestLiarPasses(t *testing.T) {
	for mode, says := range map[string]string{
		"token beyond": "it chose token 100", "second beyond": "vocabulary of 100", "NaN": "confidence is NaN", "NaN in logprobs": "NaN of the choice",
		"distribution beyond": "token 4294967295", "too few choices": "0 choices instead of 1", "too many choices": "2 choices instead of 1",
		"too many results": "2 results for 1 segments", "unknown status": "red lines",
	} {
		t.Run(mode, func(t *testing.T) {
			m, ctx := meet(t, mode), background(t)
			if err := m.Load(ctx, "m", nil, nil); err != nil {
				t.Fatal(err)
			}
			r, err := m.Forward(ctx, []backend.Segment{prompt(1, 1)})
			if err == nil {
				err = r[0].Err
			}
			if err == nil || !strings.Contains(err.Error(), says) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("%q does not say %q", err, says)
			}
		})
	}
	m, ctx := meet(t, "one lies"), background(t) // of two the other counts
	if err := m.Load(ctx, "m", nil, nil); err != nil {
		t.Fatal(err)
	}
	r, err := m.Forward(ctx, []backend.Segment{prompt(1, 1), prompt(2, 1)})
	if err != nil || r[0].Err != nil || len(r[0].Choices) != 1 || r[1].Err == nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestLiarDrafts: drafts that make no sense, or do not end, end.
func TestLiarDrafts(t *testing.T) {
	for mode, says := range map[string]string{"draft beyond": "it chose token 100", "drafts without end": "more than the 5"} {
		m, ctx := meet(t, mode), background(t)
		if err := m.Load(ctx, "m", nil, nil); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := m.Draft(ctx, backend.DraftRequest{Segment: prompt(1, 1), MaxTokens: 5}, func(speculative.Choice) bool { n++; return n < 1000 })
		if err == nil || !strings.Contains(err.Error(), says) || n > 5 {
			t.Errorf("%s: after %d tokens: %v", mode, n, err)
		}
	}
}

// TestLiarIsCutOff: a plugin that lies or does not answer is replaced; what asks again meets the next one.
func TestLiarIsCutOff(t *testing.T) {
	pass := func(ctx context.Context, h *backend.Host) error {
		r, err := h.Forward(ctx, []backend.Segment{prompt(1, 1)})
		if err == nil {
			err = r[0].Err
		}
		return err
	}
	draft := func(ctx context.Context, h *backend.Host) error {
		return h.Draft(ctx, backend.DraftRequest{Segment: prompt(1, 1), MaxTokens: 5}, func(speculative.Choice) bool { return true })
	}
	for _, x := range []struct {
		mode string
		call func(context.Context, *backend.Host) error
		is   error
		logs string
	}{
		{"NaN", pass, nil, "the plugin misbehaves"},
		{"huge answer", pass, nil, "the plugin misbehaves"},
		{"never answers", pass, backend.ErrUnavailable, "does not answer a call"},
		{"drafts without end", draft, nil, "the plugin misbehaves"},
		{"never drafts", draft, backend.ErrUnavailable, "does not answer a call"},
	} {
		t.Run(x.mode, func(t *testing.T) {
			t.Parallel()
			c := self("hostile")
			c.Args, c.MinBackoff = append(c.Args, x.mode), time.Millisecond
			if x.is != nil {
				c.CallTimeout = 200 * time.Millisecond
			}
			log := &records{}
			c.Logger = slog.New(log)
			h, ctx := launch(t, c), background(t)
			if err := x.call(ctx, h); err == nil || x.is != nil && !errors.Is(err, x.is) {
				t.Fatalf("%v", err)
			}
			log.want(t, slog.LevelError, x.logs)
			if err := h.Wait(ctx); err != nil || h.Generation() != 2 {
				t.Errorf("it was not replaced: generation %d, %v", h.Generation(), err)
			}
		})
	}
}

// A server that does not answer is no reason to end the plugin that asks it.
func TestAbsentServerKeepsThePlugin(t *testing.T) {
	c := self("hostile")
	c.Args = append(c.Args, "not now")
	h := launch(t, c)
	_, err := h.Forward(background(t), []backend.Segment{prompt(1, 1)})
	if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "no answer from the server") || !h.Running() || h.Generation() != 1 {
		t.Errorf("%v, running %v, generation %d", err, h.Running(), h.Generation())
	}
}

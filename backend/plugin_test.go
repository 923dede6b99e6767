package backend_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/mock"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// inProcess serves an engine over go-plugin's connection within the test.
func inProcess(t testing.TB, load backend.Loader) (*backend.Client, outriderv1.BackendServiceClient) {
	t.Helper()
	c, s := plugin.TestPluginGRPCConn(t, false, plugin.PluginSet{backend.PluginName: &backend.Plugin{Backend: backend.NewServer(load)}})
	t.Cleanup(func() {
		_ = c.Close() // shuts the server down, too
		<-s.DoneCh
	})
	m, err := c.Dispense(backend.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*backend.Client), outriderv1.NewBackendServiceClient(c.Conn)
}

func TestRoundTrip(t *testing.T) {
	ctx := background(t)
	m, rpc := inProcess(t, mock.Load)
	if _, err := m.Forward(ctx, []backend.Segment{prompt(1, 1)}); err == nil || errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("before Load: %v", err)
	}
	opts := map[string]string{"vocab": "50", "context": "8", "sequences": "2", "kv_tokens": "9"}
	if err := m.Load(ctx, "m", opts, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Load(ctx, "m", opts, nil); err == nil {
		t.Error("loaded twice")
	}
	r, err := m.Forward(ctx, []backend.Segment{
		prompt(1, 1, 2, 3, 4, 5, 6), prompt(1, 9), prompt(2, 60), prompt(2, 1, 2, 3, 4), {Sequence: 3, Start: 2, Tokens: []backend.Token{1}},
		prompt(4, 1, 2, 3, 4, 5, 6, 7, 8, 9), prompt(5, 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, backend.ErrInvalid, backend.ErrInvalid, backend.ErrInvalid, backend.ErrSequenceLost, backend.ErrContextFull, nil} {
		if !errors.Is(r[i].Err, want) {
			t.Errorf("segment %d: %v, want %v", i, r[i].Err, want)
		}
	}
	r, err = m.Forward(ctx, []backend.Segment{prompt(6, 1), {Sequence: 5, Start: 1, Tokens: []backend.Token{1, 2, 3}}})
	if err != nil || !errors.Is(r[0].Err, backend.ErrNoMemory) || !errors.Is(r[1].Err, backend.ErrNoMemory) {
		t.Errorf("%v %v", r, err)
	}
	if err := m.Draft(ctx, backend.DraftRequest{Segment: prompt(7, 1, 2), MaxTokens: 2}, nil); !errors.Is(err, backend.ErrNoMemory) {
		t.Errorf("draft: %v", err)
	}
	if _, err := rpc.Forward(ctx, &outriderv1.ForwardRequest{Segments: []*outriderv1.Segment{nil, {}}}); err != nil {
		t.Errorf("empty segments fail alone: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := m.Forward(cancelled, []backend.Segment{prompt(1, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := m.Draft(cancelled, backend.DraftRequest{Segment: prompt(1, 1), MaxTokens: 1}, nil); err != nil {
		t.Errorf("a cancelled draft is no error: %v", err)
	}
}

// stubborn drafts on until its context ends, and counts who is on a sequence.
type stubborn struct {
	backend.Model
	drafting atomic.Int32
	overlaps atomic.Int32
}

func (s *stubborn) Draft(ctx context.Context, _ backend.DraftRequest, emit func(speculative.Choice) bool) error {
	s.drafting.Add(1)
	emit(speculative.Choice{Token: 1, Confidence: 1, Second: -1})
	<-ctx.Done()
	time.Sleep(20 * time.Millisecond) // the step under way
	s.drafting.Add(-1)
	return nil
}

func (s *stubborn) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	s.overlaps.Add(s.drafting.Load())
	return s.Model.Forward(ctx, batch)
}

// A newer call on a sequence waits until an older Draft has left it.
func TestDraftGivesWay(t *testing.T) {
	ctx := background(t)
	s := &stubborn{}
	m, _ := inProcess(t, func(ctx context.Context, model string, o map[string]string, p func(float32)) (_ backend.Model, err error) {
		s.Model, err = mock.Load(ctx, model, o, p)
		return s, err
	})
	if err := m.Load(ctx, "m", nil, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		n := 0
		err := m.Draft(ctx, backend.DraftRequest{Segment: prompt(1, 1), MaxTokens: 9}, func(speculative.Choice) bool { n++; return false })
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if _, err := m.Forward(ctx, []backend.Segment{prompt(1, 1, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.overlaps.Load(); n != 0 {
		t.Errorf("%d passes ran beside a draft on the same sequence", n)
	}
}

// Engines that break the contract cost their own segment or call, not the process.
func TestEngineMisbehaves(t *testing.T) {
	ctx := background(t)
	bad := &wrong{}
	m, rpc := inProcess(t, func(ctx context.Context, model string, o map[string]string, p func(float32)) (_ backend.Model, err error) {
		bad.Model, err = mock.Load(ctx, model, o, p)
		return bad, err
	})
	if err := m.Load(ctx, "m", nil, nil); err != nil {
		t.Fatal(err)
	}
	bad.results = []backend.Result{{}}
	if r, err := m.Forward(ctx, []backend.Segment{prompt(1, 1)}); err != nil || r[0].Err == nil {
		t.Errorf("no choice: %v %v", r, err)
	}
	bad.results = nil
	if _, err := rpc.Forward(ctx, &outriderv1.ForwardRequest{Segments: []*outriderv1.Segment{
		{Tokens: []uint32{1}, Setup: &outriderv1.Setup{}}}}); status.Code(err) != codes.Internal {
		t.Errorf("no result: %v", err)
	}
}

type wrong struct {
	backend.Model
	results []backend.Result
}

func (w *wrong) Forward(context.Context, []backend.Segment) ([]backend.Result, error) {
	return w.results, nil
}

func TestPaced(t *testing.T) {
	ctx := background(t)
	m, err := mock.Load(ctx, "m", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := backend.Paced(m, 20*time.Millisecond, 5*time.Millisecond)
	begin := time.Now()
	if _, err := p.Forward(ctx, []backend.Segment{prompt(1, 1, 2), prompt(2, 1, 2)}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 40*time.Millisecond {
		t.Errorf("a pass of 4 rows took %s, want at least 40ms", d)
	}
	begin = time.Now()
	n := 0
	if err := p.Draft(ctx, backend.DraftRequest{Segment: prompt(1, 1, 2), MaxTokens: 2}, func(speculative.Choice) bool { n++; return true }); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if d := time.Since(begin); d < 55*time.Millisecond {
		t.Errorf("two tokens after two rows took %s, want at least 55ms", d)
	}
	type host interface {
		Generation() uint64
		Wait(context.Context) error
		Running() bool
		PID() int
		Close() error
	}
	if h, ok := p.(host); !ok || !h.Running() || h.Wait(ctx) != nil || h.Generation() != 0 || h.Close() != nil {
		t.Error("a paced model without a process")
	}
	real := backend.Paced(launch(t, self("mock")), 0, 0).(host)
	if real.Generation() != 1 || real.PID() == 0 || real.Close() != nil || real.Running() {
		t.Error("a paced host does not pass its life through")
	}
}

func benchmark(b *testing.B, m backend.Model, sequences, rows int) {
	ctx := context.Background()
	batch := make([]backend.Segment, sequences)
	for i := range batch {
		batch[i] = prompt(backend.Sequence(i), make([]backend.Token, 16)...)
	}
	if _, err := m.Forward(ctx, batch); err != nil {
		b.Fatal(err)
	}
	for i := range batch {
		batch[i] = backend.Segment{Sequence: backend.Sequence(i), Start: 16, Tokens: make([]backend.Token, rows)}
	}
	for b.Loop() {
		if _, err := m.Forward(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
}

// The round trip over the plugin's socket with an engine that takes no time.
func BenchmarkForward(b *testing.B) {
	h := launch(b, self("mock"))
	b.Run("1x1", func(b *testing.B) { benchmark(b, h, 1, 1) })
	b.Run("1x8", func(b *testing.B) { benchmark(b, h, 1, 8) })
	b.Run("64x8", func(b *testing.B) { benchmark(b, h, 64, 8) })
	b.Run("2000x1", func(b *testing.B) { benchmark(b, h, 2000, 1) })
}

func BenchmarkDraft(b *testing.B) {
	h := launch(b, self("mock"))
	for b.Loop() {
		n := 0
		err := h.Draft(context.Background(), backend.DraftRequest{Segment: prompt(1, 1, 2, 3), MaxTokens: 16},
			func(speculative.Choice) bool { n++; return true })
		if err != nil || n != 16 {
			b.Fatal(n, err)
		}
	}
}

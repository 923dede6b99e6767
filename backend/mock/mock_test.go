package mock

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t testing.TB, options ...string) *Engine {
	t.Helper()
	o := map[string]string{}
	for i := 0; i+1 < len(options); i += 2 {
		o[options[i]] = options[i+1]
	}
	m, err := Load(context.Background(), "", o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*Engine)
}

func forward(t testing.TB, e *Engine, seg backend.Segment) ([]speculative.Choice, error) {
	t.Helper()
	r, err := e.Forward(context.Background(), []backend.Segment{seg})
	if err != nil {
		t.Fatal(err)
	}
	return r[0].Choices, r[0].Err
}

// scratch is the choices after every token of a log, on a sequence of its own.
func scratch(t testing.TB, e *Engine, log []backend.Token, setup backend.Setup) []speculative.Choice {
	t.Helper()
	const own = 1 << 60
	c, err := forward(t, e, backend.Segment{Sequence: own, Tokens: log, Setup: &setup})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Release(context.Background(), []backend.Sequence{own}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Chains, trees, rows kept and rolled back: a choice depends on the log alone.
func TestLogAlone(t *testing.T) {
	e := load(t, "vocab", "20", "agreement", "0.7")
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		setup := backend.Setup{PromptLength: 3, Params: speculative.Params{Temperature: 1, Seed: seed}}
		var log []backend.Token
		var keep []int32
		for range 12 {
			start := len(log)
			if keep == nil {
				start = rng.IntN(len(log) + 1)
			}
			log = log[:start]
			n := 1 + rng.IntN(6)
			seg := backend.Segment{Sequence: 1, Start: start, Keep: keep, Setup: &setup}
			tree := rng.IntN(2) == 0
			for i := range n {
				seg.Tokens = append(seg.Tokens, backend.Token(rng.IntN(20)))
				if tree {
					seg.Parents = append(seg.Parents, int32(rng.IntN(i+1)-1))
				}
			}
			got, err := forward(t, e, seg)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			var last []int32
			for i := range n {
				path := []int32{int32(i)}
				for p := parent(seg.Parents, i); p >= 0; p = parent(seg.Parents, int(p)) {
					path = append([]int32{p}, path...)
				}
				full := append([]backend.Token{}, log...)
				for _, p := range path {
					full = append(full, seg.Tokens[p])
				}
				if want := scratch(t, e, full, setup); got[i] != want[len(want)-1] {
					t.Fatalf("seed %d: row %d of %+v chose %v, from scratch %v", seed, i, seg, got[i], want[len(want)-1])
				}
				last = path
			}
			keep = nil
			if tree {
				keep = last
			}
			if keep != nil {
				for _, k := range keep {
					log = append(log, seg.Tokens[k])
				}
			} else {
				log = append(log, seg.Tokens...)
			}
		}
	}
	if err := e.Release(context.Background(), []backend.Sequence{1, 5}); err != nil {
		t.Fatal(err)
	}
	if s, r := e.Held(); s != 0 || r != 0 {
		t.Errorf("%d sequences and %d rows are left", s, r)
	}
}

func parent(parents []int32, i int) int32 {
	if parents == nil {
		return int32(i) - 1
	}
	return parents[i]
}

// A draft agrees with the target as often as told, its confidence says how likely, and its second
// choice covers the told share of the misses.
func TestAgreement(t *testing.T) {
	target := load(t, "seed", "3")
	for _, want := range []string{"0", "0.3", "0.8", "1"} {
		draft := load(t, "seed", "3", "agreement", want, "second", "0.25")
		setup := backend.Setup{PromptLength: 1}
		log := []backend.Token{1}
		for range 4000 {
			log = append(log, backend.Token(1+len(log)%100))
		}
		a, b := scratch(t, target, log, setup), scratch(t, draft, log, setup)
		agreed, confidence, covered := 0.0, 0.0, 0.0
		for i := range a {
			confidence += float64(b[i].Confidence)
			if b[i].Token == b[i].Second || a[i].Token == a[i].Second {
				t.Fatal("first and second are the same")
			}
			switch a[i].Token {
			case b[i].Token:
				agreed++
			case b[i].Second:
				covered++
			}
		}
		n := float64(len(a))
		p := map[string]float64{"0": 0, "0.3": 0.3, "0.8": 0.8, "1": 1}[want]
		if math.Abs(agreed/n-p) > 0.03 {
			t.Errorf("agreement %.3f, want %s", agreed/n, want)
		}
		if p >= 0.8 && math.Abs(confidence/n-p) > 0.03 {
			t.Errorf("mean confidence %.3f at agreement %s", confidence/n, want)
		}
		if agreed < n && math.Abs(covered/(n-agreed)-0.25) > 0.05 {
			t.Errorf("the second choice covers %.3f of the misses at %s", covered/(n-agreed), want)
		}
	}
}

// The sampling seed counts when there is a temperature.
func TestSeed(t *testing.T) {
	e := load(t)
	log := []backend.Token{1, 2, 3, 4, 5, 6, 7, 8}
	at := func(p speculative.Params) string {
		var b strings.Builder
		for _, c := range scratch(t, e, log, backend.Setup{Params: p}) {
			b.WriteRune(c.Token)
		}
		return b.String()
	}
	greedy := at(speculative.Params{})
	if at(speculative.Params{Seed: 5}) != greedy {
		t.Error("the seed counts at temperature 0")
	}
	one := at(speculative.Params{Temperature: 1, Seed: 5})
	if one == greedy || one != at(speculative.Params{Temperature: 1, Seed: 5}) || one == at(speculative.Params{Temperature: 1, Seed: 6}) ||
		one == at(speculative.Params{Temperature: 1, Seed: 5, Choice: 1}) {
		t.Error("seed or choice do not count")
	}
}

func TestErrors(t *testing.T) {
	setup := &backend.Setup{PromptLength: 1}
	e := load(t, "vocab", "10", "context", "8", "sequences", "2", "kv_tokens", "12")
	tok := func(n int) []backend.Token { return make([]backend.Token, n) }
	for i, x := range []struct {
		seg backend.Segment
		is  error
	}{
		{backend.Segment{Sequence: 1, Tokens: tok(3), Setup: setup}, nil},
		{backend.Segment{Sequence: 1, Start: 4, Tokens: tok(1)}, backend.ErrSequenceLost},
		{backend.Segment{Sequence: 2, Start: 1, Tokens: tok(1)}, backend.ErrSequenceLost},
		{backend.Segment{Sequence: 1, Tokens: tok(9), Setup: setup}, backend.ErrContextFull},
		{backend.Segment{Sequence: 1, Tokens: tok(1)}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: -1, Tokens: tok(1)}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1, From: 2, Tokens: tok(1)}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1, Tokens: []backend.Token{10}}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1, Tokens: tok(2), Parents: []int32{-1}}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1, Tokens: tok(2), Parents: []int32{-1, 1}}, backend.ErrInvalid},
		{backend.Segment{Sequence: 2, Tokens: tok(8), Setup: setup}, nil},
		{backend.Segment{Sequence: 3, Tokens: tok(1), Setup: setup}, backend.ErrNoMemory},
		{backend.Segment{Sequence: 1, Start: 3, Tokens: tok(2)}, backend.ErrNoMemory},
		// Rows that the segment drops make room.
		{backend.Segment{Sequence: 1, Start: 1, Tokens: tok(3), Parents: []int32{-1, -1, 1}}, nil},
		// Rows 0 and 2 are not one path, nor are the first three.
		{backend.Segment{Sequence: 1, Start: 3, Tokens: tok(1), Keep: []int32{0, 2}}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1, Tokens: tok(3), Parents: []int32{-1, -1, 1}}, nil},
		{backend.Segment{Sequence: 1, Start: 3, Tokens: tok(1)}, backend.ErrInvalid},
		{backend.Segment{Sequence: 1, Start: 1, Tokens: tok(3), Parents: []int32{-1, -1, 1}}, nil},
		{backend.Segment{Sequence: 1, Start: 3, Tokens: tok(1), Keep: []int32{1, 2}}, nil},
		{backend.Segment{Sequence: 1, Start: 4, Tokens: tok(1), Keep: []int32{7}}, backend.ErrSequenceLost},
	} {
		if _, err := forward(t, e, x.seg); !errors.Is(err, x.is) {
			t.Errorf("%d: %v, want %v", i, err, x.is)
		}
	}
	for name, v := range map[string]string{"agreement": "1.1", "step": "fast", "vocab": "0", "trees": "oak", "seed": "-1", "nonsense": "1"} {
		if _, err := Load(context.Background(), "", map[string]string{name: v}, nil); !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), name) {
			t.Errorf("option %s: %v", name, err)
		}
	}
}

func TestEnds(t *testing.T) {
	e := load(t, "end_after", "5", "context", "100")
	var got []backend.Token
	req := backend.DraftRequest{MaxTokens: 50, Segment: backend.Segment{Tokens: []backend.Token{1, 2, 3}, Setup: &backend.Setup{PromptLength: 3}}}
	if err := e.Draft(context.Background(), req, func(c speculative.Choice) bool { got = append(got, c.Token); return true }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 6 || got[5] != endToken {
		t.Errorf("%v", got)
	}
	// The context's end and an improbable path are ends, too.
	for _, x := range []struct {
		e    *Engine
		path float32
	}{{load(t, "context", "6"), 0}, {load(t, "agreement", "0.6"), 0.3}} {
		n := 0
		req.MinPath = x.path
		if err := x.e.Draft(context.Background(), req, func(speculative.Choice) bool { n++; return true }); err != nil || n == 0 || n > 5 {
			t.Errorf("%d tokens, %v", n, err)
		}
	}
}

// A pass takes what the options say; passes run one at a time.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := load(t, "step", "10ms", "sequence", "2ms", "position", "1ms")
		s := &backend.Setup{}
		batch := []backend.Segment{{Sequence: 1, Tokens: []backend.Token{1, 2}, Setup: s}, {Sequence: 2, Tokens: []backend.Token{1}, Setup: s}}
		begin, done := time.Now(), make(chan error)
		for range 2 {
			go func() {
				_, err := e.Forward(t.Context(), batch)
				done <- err
			}()
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 34*time.Millisecond {
			t.Errorf("two passes took %s, want 34ms", d)
		}
		begin = time.Now()
		req := backend.DraftRequest{MaxTokens: 3, Segment: backend.Segment{Sequence: 1, Start: 2, Tokens: []backend.Token{1, 2}}}
		if err := e.Draft(t.Context(), req, func(speculative.Choice) bool { return true }); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 40*time.Millisecond {
			t.Errorf("a draft of three took %s, want 40ms", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if _, err := e.Forward(ctx, batch); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func BenchmarkForward2000(b *testing.B) {
	e := load(b)
	batch := make([]backend.Segment, 2000)
	for i := range batch {
		batch[i] = backend.Segment{Sequence: backend.Sequence(i), Tokens: make([]backend.Token, 500), From: 500, Setup: &backend.Setup{}}
	}
	if _, err := e.Forward(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	for i := range batch {
		batch[i] = backend.Segment{Sequence: backend.Sequence(i), Start: 500, Tokens: []backend.Token{1}}
	}
	for b.Loop() {
		if _, err := e.Forward(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

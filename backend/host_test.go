package backend_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/speculative"
)

func TestSubprocess(t *testing.T) {
	ctx := background(t)
	c := self("mock", "vocab", "1000", "seed", "7")
	var progress []float32
	c.Progress = func(p float32) { progress = append(progress, p) }
	h := launch(t, c)
	if i := h.Info(); i.Engine != "mock" || i.VocabularySize != 1000 || !h.Running() || h.Generation() != 1 || h.PID() == os.Getpid() {
		t.Fatalf("info %+v, generation %d, pid %d", i, h.Generation(), h.PID())
	}
	if len(progress) == 0 {
		t.Error("no progress was reported")
	}
	local, err := mock.Load(ctx, "m", c.Options, nil)
	if err != nil {
		t.Fatal(err)
	}
	batch := []backend.Segment{prompt(1, 1, 2, 3), prompt(2, 4), {Sequence: 9, Start: 5, Tokens: []backend.Token{1}}}
	compare(t, ctx, h, local, batch)
	tree := []backend.Segment{{Sequence: 1, Start: 3, Tokens: []backend.Token{5, 6, 7, 8}, Parents: []int32{-1, -1, 0, 2}}}
	compare(t, ctx, h, local, tree)
	compare(t, ctx, h, local, []backend.Segment{{Sequence: 1, Start: 6, Tokens: []backend.Token{9}, Keep: []int32{0, 2, 3}}})

	var got, want []speculative.Choice
	req := backend.DraftRequest{Segment: prompt(3, 1, 2), MaxTokens: 10}
	for _, x := range []struct {
		m   backend.Model
		out *[]speculative.Choice
	}{{h, &got}, {local, &want}} {
		if err := x.m.Draft(ctx, req, func(c speculative.Choice) bool { *x.out = append(*x.out, c); return len(*x.out) < 7 }); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 7 || !equal(got, want) {
		t.Errorf("drafted %v, want %v", got, want)
	}
	if err := h.Release(ctx, []backend.Sequence{1, 2, 77}); err != nil {
		t.Error(err)
	}
	r, err := h.Forward(ctx, []backend.Segment{{Sequence: 1, Start: 3, Tokens: []backend.Token{1}}})
	if err != nil || !errors.Is(r[0].Err, backend.ErrSequenceLost) {
		t.Errorf("a released sequence: %v %v", r, err)
	}
	if err := h.Close(); err != nil || h.Running() {
		t.Errorf("close: %v, running %v", err, h.Running())
	}
	if _, err := h.Forward(ctx, batch); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("after close: %v", err)
	}
}

func compare(t *testing.T, ctx context.Context, a, b backend.Model, batch []backend.Segment) {
	t.Helper()
	ra, err := a.Forward(ctx, batch)
	if err != nil {
		t.Fatal(err)
	}
	rb, err := b.Forward(ctx, batch)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batch {
		if !equal(ra[i].Choices, rb[i].Choices) || (ra[i].Err == nil) != (rb[i].Err == nil) {
			t.Errorf("segment %d: %v, want %v", i, ra[i], rb[i])
		}
		if rb[i].Err != nil && !errors.Is(ra[i].Err, errors.Unwrap(rb[i].Err)) && !errors.Is(ra[i].Err, rb[i].Err) {
			t.Errorf("segment %d: %v, want %v", i, ra[i].Err, rb[i].Err)
		}
	}
}

func equal(a, b []speculative.Choice) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestRestart(t *testing.T) {
	ctx := background(t)
	c := self("mock")
	c.MinBackoff = time.Millisecond
	h := launch(t, c)
	for generation := uint64(2); generation < 4; generation++ {
		p, err := os.FindProcess(h.PID())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		// Until the death is seen calls work or say ErrUnavailable, then Wait waits for the new process.
		for {
			_, err := h.Forward(ctx, []backend.Segment{prompt(1, 1)})
			if errors.Is(err, backend.ErrUnavailable) {
				break
			}
			if err != nil {
				t.Fatalf("%v is not ErrUnavailable", err)
			}
			time.Sleep(time.Millisecond)
		}
		if err := h.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if h.Generation() != generation {
			t.Fatalf("generation %d after Wait, want %d", h.Generation(), generation)
		}
		r, err := h.Forward(ctx, []backend.Segment{{Sequence: 1, Start: 1, Tokens: []backend.Token{1}}})
		if err != nil || !errors.Is(r[0].Err, backend.ErrSequenceLost) {
			t.Fatalf("the new process holds rows of the old: %v %v", r, err)
		}
	}
}

func TestLoadErrorIsFinal(t *testing.T) {
	ctx := background(t)
	marker := t.TempDir() + "/model"
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := self("marker")
	c.Model, c.MinBackoff = marker, time.Millisecond
	h := launch(t, c)
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	kill(t, h.PID())
	for h.Running() {
		time.Sleep(time.Millisecond)
	}
	if err := h.Wait(ctx); !errors.Is(err, backend.ErrLoad) {
		t.Errorf("Wait says %v", err)
	}
	_, err := h.Forward(ctx, nil)
	if !errors.Is(err, backend.ErrUnavailable) || !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), marker) {
		t.Errorf("Forward says %v", err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

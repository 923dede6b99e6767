package reference

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

func toks(n ...backend.Token) []backend.Token { return n }

func TestSegmentErrorsLeaveOthersAndTheirOwnSequenceAlone(t *testing.T) {
	bad := &backend.Setup{Params: speculative.Params{Temperature: -1}}
	for _, tc := range []struct {
		name string
		seg  backend.Segment
		want error
	}{
		{"unknown sequence", backend.Segment{Sequence: 7, Start: 1, Tokens: toks(1)}, backend.ErrSequenceLost},
		{"start beyond the rows", backend.Segment{Sequence: 1, Start: 5, Tokens: toks(1)}, backend.ErrSequenceLost},
		{"keep without a tree", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1), Keep: []int32{0}}, backend.ErrSequenceLost},
		{"rows of a tree that are no chain", backend.Segment{Sequence: 2, Start: 4, Tokens: toks(1)}, backend.ErrSequenceLost},
		{"keep beyond the tree", backend.Segment{Sequence: 2, Start: 3, Tokens: toks(1), Keep: []int32{0, 3}}, backend.ErrInvalid},
		{"keep negative", backend.Segment{Sequence: 2, Start: 3, Tokens: toks(1), Keep: []int32{-1}}, backend.ErrInvalid},
		{"keep no path", backend.Segment{Sequence: 2, Start: 4, Tokens: toks(1), Keep: []int32{0, 2}}, backend.ErrInvalid},
		{"keep siblings", backend.Segment{Sequence: 2, Start: 4, Tokens: toks(1), Keep: []int32{0, 1}}, backend.ErrInvalid},
		{"start negative", backend.Segment{Sequence: 1, Start: -1, Tokens: toks(1), Setup: greedy}, backend.ErrInvalid},
		{"start huge", backend.Segment{Sequence: 1, Start: math.MaxInt, Tokens: toks(1)}, backend.ErrContextFull},
		{"no tokens", backend.Segment{Sequence: 1, Start: 4}, backend.ErrInvalid},
		{"token negative", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(-1)}, backend.ErrInvalid},
		{"token of the padding", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(61)}, backend.ErrInvalid},
		{"from beyond", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1), From: 2}, backend.ErrInvalid},
		{"from negative", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1), From: -1}, backend.ErrInvalid},
		{"no setup", backend.Segment{Sequence: 1, Tokens: toks(1)}, backend.ErrInvalid},
		{"bad setup", backend.Segment{Sequence: 1, Tokens: toks(1), Setup: bad}, backend.ErrInvalid},
		{"parents short", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1, 2), Parents: []int32{-1}}, backend.ErrInvalid},
		{"parent later", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1, 2), Parents: []int32{-1, 1}}, backend.ErrInvalid},
		{"parent too low", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1, 2), Parents: []int32{-1, -2}}, backend.ErrInvalid},
		{"beyond the context", backend.Segment{Sequence: 1, Start: 4, Tokens: make([]backend.Token, 45)}, backend.ErrContextFull},
		{"twice in the batch", backend.Segment{Sequence: 3, Start: 1, Tokens: toks(1)}, backend.ErrInvalid},
		{"memory full", backend.Segment{Sequence: 1, Start: 4, Tokens: make([]backend.Token, 40)}, backend.ErrNoMemory},
		{"too many sequences", backend.Segment{Sequence: 8, Tokens: toks(1), Setup: greedy}, backend.ErrNoMemory},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := func(failing bool) []speculative.Choice {
				e := engine(t, newSynth(1).file(t), "kv_tokens", "64", "sequences", "3")
				forward(t, e, backend.Segment{Sequence: 1, Tokens: toks(1, 4, 5, 6), Setup: greedy})
				forward(t, e, backend.Segment{Sequence: 2, Tokens: toks(1, 4), Setup: greedy})
				forward(t, e, backend.Segment{Sequence: 2, Start: 2, Tokens: toks(5, 6, 7), Parents: []int32{-1, -1, 1}})
				batch := []backend.Segment{{Sequence: 3, Tokens: toks(1, 9), Setup: greedy}}
				if failing {
					batch = append(batch, tc.seg)
				}
				r, err := e.Forward(t.Context(), batch)
				if err != nil || r[0].Err != nil {
					t.Fatal(err, r[0].Err)
				}
				if failing && !errors.Is(r[1].Err, tc.want) {
					t.Fatalf("error %v, want %v", r[1].Err, tc.want)
				}
				audit(t, e)
				out := slices.Clone(r[0].Choices)
				out = append(out, forward(t, e, backend.Segment{Sequence: 1, Start: 4, Tokens: toks(8)})...)
				out = append(out, forward(t, e, backend.Segment{Sequence: 2, Start: 4, Tokens: toks(8), Keep: []int32{1, 2}})...)
				return out
			}
			if a, b := run(false), run(true); !slices.Equal(a, b) {
				t.Fatalf("with the failing segment %v, without %v", b, a)
			}
		})
	}
}

func TestMemoryIsFreedByReleaseAndRollback(t *testing.T) {
	e := engine(t, newSynth(1).file(t), "kv_tokens", "48")
	if got := e.Info().KVTokens; got != 48 {
		t.Fatalf("%d rows", got)
	}
	long := backend.Segment{Tokens: make([]backend.Token, 33), Setup: greedy}
	for id := range backend.Sequence(4) {
		long.Sequence = id
		forward(t, e, long)
		other := long
		other.Sequence = 100
		r, err := e.Forward(t.Context(), []backend.Segment{other})
		if err != nil || !errors.Is(r[0].Err, backend.ErrNoMemory) {
			t.Fatalf("%v, %v", err, r[0].Err)
		}
		if id%2 == 0 {
			forward(t, e, backend.Segment{Sequence: id, Tokens: toks(1), Setup: greedy}) // back to one page
			forward(t, e, backend.Segment{Sequence: 100, Tokens: make([]backend.Token, 32), Setup: greedy})
		}
		if err := e.Release(t.Context(), []backend.Sequence{id, 100, 100}); err != nil {
			t.Fatal(err)
		}
		audit(t, e)
	}
}

func TestDraft(t *testing.T) {
	e := engine(t, models.DraftName)
	prompt := toks(2045, 300, 301, 302)
	endless := &backend.Setup{Params: speculative.Params{LogitBias: map[backend.Token]float32{}}}
	for _, end := range e.Info().EndTokens {
		endless.Params.LogitBias[end] = -1000
	}
	seg := backend.Segment{Sequence: 1, Tokens: prompt, Setup: endless}
	want := slices.Clone(prompt)
	for len(want) < 24 {
		c := forward(t, e, backend.Segment{Sequence: 9, Tokens: want, Setup: endless})
		want = append(want, c[len(c)-1].Token)
	}
	want = want[len(prompt):]
	if got := draft(t, e, backend.DraftRequest{Segment: seg, MaxTokens: 20}); !slices.Equal(got, want) {
		t.Fatalf("drafted %v, one by one %v", got, want)
	}
	// It goes on from the last emitted token.
	next := backend.Segment{Sequence: 1, Start: 13, Tokens: want[9:10]}
	if got := draft(t, e, backend.DraftRequest{Segment: next, MaxTokens: 10}); !slices.Equal(got, want[10:]) {
		t.Fatalf("went on with %v, want %v", got, want[10:])
	}
	if got := draft(t, e, backend.DraftRequest{Segment: seg}); got != nil {
		t.Fatalf("drafted %v of no tokens", got)
	}
	path, n := float32(1), 0
	err := e.Draft(t.Context(), backend.DraftRequest{Segment: seg, MaxTokens: 20, MinPath: 0.5}, func(c speculative.Choice) bool {
		if path < 0.5 {
			t.Fatalf("went on below the bound: %g", path)
		}
		path *= c.Confidence
		n++
		return true
	})
	if err != nil || path >= 0.5 && n < 20 {
		t.Fatalf("stopped at %g after %d: %v", path, n, err)
	}
	n = 0
	err = e.Draft(t.Context(), backend.DraftRequest{Segment: seg, MaxTokens: 20}, func(speculative.Choice) bool { n++; return n < 3 })
	if err != nil || n != 3 {
		t.Fatalf("%d tokens, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	err = e.Draft(ctx, backend.DraftRequest{Segment: seg, MaxTokens: 20}, func(speculative.Choice) bool { n++; cancel(); return true })
	if err != nil || n != 1 {
		t.Fatalf("%d tokens after cancel, %v", n, err)
	}
	tree := seg
	tree.Parents = []int32{-1, 0, 1, 2}
	for want, s := range map[error]backend.Segment{
		backend.ErrInvalid: tree, backend.ErrSequenceLost: {Sequence: 77, Start: 3, Tokens: toks(1)},
	} {
		err := e.Draft(t.Context(), backend.DraftRequest{Segment: s, MaxTokens: 3}, func(speculative.Choice) bool { return true })
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
}

func TestDraftEnds(t *testing.T) {
	e := engine(t, newSynth(1).file(t))
	seg := backend.Segment{Sequence: 1, Tokens: toks(1), Setup: &backend.Setup{Params: speculative.Params{LogitBias: map[backend.Token]float32{2: -1000}}}}
	if got := len(draft(t, e, backend.DraftRequest{Segment: seg, MaxTokens: 100})); got != e.c.context {
		t.Fatalf("%d tokens, the context is %d", got, e.c.context)
	}
	seg.Setup = &backend.Setup{Params: speculative.Params{LogitBias: map[backend.Token]float32{2: 1000}}}
	if got := draft(t, e, backend.DraftRequest{Segment: seg, MaxTokens: 100}); !slices.Equal(got, toks(2)) {
		t.Fatalf("%v, want the end token alone", got)
	}
}

// A long draft lets a Forward in between two tokens; a sequence that is used meanwhile is lost to it.
func TestDraftLetsOthersIn(t *testing.T) {
	e := engine(t, models.DraftName)
	seg := backend.Segment{Sequence: 1, Tokens: toks(2045), Setup: greedy}
	n := 0
	err := e.Draft(t.Context(), backend.DraftRequest{Segment: seg, MaxTokens: 9}, func(speculative.Choice) bool {
		forward(t, e, backend.Segment{Sequence: 2, Tokens: toks(2045, 7), Setup: greedy})
		if n++; n == 4 { // other tokens, as many as the draft has run
			forward(t, e, backend.Segment{Sequence: 1, Tokens: toks(2045, 7, 8, 9), Setup: greedy})
		}
		return true
	})
	if n != 4 || !errors.Is(err, backend.ErrSequenceLost) {
		t.Fatalf("%v after %d tokens", err, n)
	}
}

func TestCancelledForwardKeepsTheRowsBefore(t *testing.T) {
	e := engine(t, models.DraftName)
	prompt := toks(2045, 300, 301, 302)
	want := forward(t, e, backend.Segment{Sequence: 1, Tokens: prompt, Setup: greedy, From: 3})
	forward(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: prompt[3:]})
	ctx, cancel := context.WithCancel(t.Context())
	e.m.observe = func(*row, []float32) { cancel() } // in the first pass; there are more rows than one pass takes
	more := append(slices.Clone(prompt[3:]), make([]backend.Token, 2*passRows)...)
	_, err := e.Forward(ctx, []backend.Segment{
		{Sequence: 1, Start: 3, Tokens: more}, {Sequence: 2, Tokens: more, Setup: greedy}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	e.m.observe = nil
	audit(t, e)
	if len(e.sequences) != 1 {
		t.Fatal("the new sequence is still there")
	}
	if got := forward(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: prompt[3:]}); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	if _, err := e.Forward(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
}

// expiring is a context that ends when it has been asked a number of times.
type expiring struct {
	context.Context
	left int
}

func (c *expiring) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestForwardAsksBetweenLayersWhetherToGoOn(t *testing.T) {
	e := engine(t, newSynth(1).file(t))
	prompt := backend.Segment{Sequence: 1, Tokens: toks(1, 2, 3), From: 3, Setup: greedy}
	for left := range 1 + e.c.layers { // once before the lock
		_, err := e.Forward(&expiring{t.Context(), left}, []backend.Segment{prompt})
		if !errors.Is(err, context.Canceled) || len(e.sequences) != 0 {
			t.Fatalf("after %d questions: %v, %d sequences", left, err, len(e.sequences))
		}
	}
	if _, err := e.Forward(&expiring{t.Context(), 100}, []backend.Segment{prompt}); err != nil {
		t.Fatal(err)
	}
}

func TestTreeIsForgottenByTheNextSegment(t *testing.T) {
	start := backend.Segment{Sequence: 1, Tokens: toks(1, 2), Setup: greedy}
	tree := backend.Segment{Sequence: 1, Start: 2, Tokens: toks(3, 4, 5), Parents: []int32{-1, 0, 1}}
	for _, tc := range []struct {
		name string
		next backend.Segment // after the tree
		held int             // rows then
	}{
		{"a new log", start, 2},
		{"rollback into the log", backend.Segment{Sequence: 1, Start: 1, Tokens: toks(6)}, 2},
		{"nothing kept", backend.Segment{Sequence: 1, Start: 2, Tokens: toks(6), Keep: []int32{}}, 3},
		{"first rows kept by default", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(6)}, 5},
	} {
		e := engine(t, newSynth(1).file(t))
		forward(t, e, start)
		forward(t, e, tree)
		forward(t, e, tc.next)
		audit(t, e)
		r, err := e.Forward(t.Context(), []backend.Segment{{Sequence: 1, Start: tc.held + 1, Tokens: toks(7)}})
		if err != nil || !errors.Is(r[0].Err, backend.ErrSequenceLost) {
			t.Errorf("%s: more than %d rows are held: %v, %v", tc.name, tc.held, err, r[0].Err)
		}
		forward(t, e, backend.Segment{Sequence: 1, Start: tc.held, Tokens: toks(7)})
		audit(t, e)
	}
}

func TestWaitingCanBeCancelled(t *testing.T) {
	e := engine(t, models.DraftName)
	e.turn <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := e.Forward(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	e.unlock()
}

func TestConcurrentCalls(t *testing.T) {
	e := engine(t, models.DraftName, "threads", "2")
	want := draft(t, e, backend.DraftRequest{Segment: backend.Segment{Sequence: 99, Tokens: toks(2045, 5), Setup: greedy}, MaxTokens: 12})
	var wg sync.WaitGroup
	fail := make(chan error, 8)
	for id := range backend.Sequence(8) {
		wg.Go(func() {
			seg := backend.Segment{Sequence: id, Tokens: toks(2045, 5), Setup: greedy}
			var got []backend.Token
			err := e.Draft(context.Background(), backend.DraftRequest{Segment: seg, MaxTokens: 12}, func(c speculative.Choice) bool {
				got = append(got, c.Token)
				return true
			})
			if err == nil {
				err = e.Release(context.Background(), []backend.Sequence{id})
			}
			if err != nil || !slices.Equal(got, want) {
				fail <- fmt.Errorf("%v, want %v: %w", got, want, err)
			}
		})
	}
	wg.Wait()
	close(fail)
	for err := range fail {
		t.Error(err)
	}
}

func TestClosedEngine(t *testing.T) {
	e := engine(t, models.DraftName)
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Forward(t.Context(), nil); !errors.Is(err, backend.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
	if err := e.Release(t.Context(), nil); !errors.Is(err, backend.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
}

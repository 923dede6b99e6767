//go:build verify

package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

const small = models.DraftName

func toks(n ...backend.Token) []backend.Token { return n }

func TestInfo(t *testing.T) {
	e := engine(t, small, "sequences", "7", "kv_tokens", "1000", "context", "300")
	i := e.Info()
	t.Logf("%+v", i)
	if i.Engine != "llamacpp" || i.Sequences != 7 || i.KVTokens != 1024 || i.ContextLength != 300 || !i.Trees || !i.ShapeDependent || i.Parameters < 1000 ||
		i.VocabularySize < 100 || len(i.EndTokens) == 0 || i.Architecture != "llama" {
		t.Fatal("not as asked")
	}
}

func TestSegmentErrorsLeaveOthersAndTheirOwnSequenceAlone(t *testing.T) {
	libraries(t)
	bad := &backend.Setup{Params: speculative.Params{Temperature: -1}}
	many := make([]backend.Token, 254) // leaves
	roots := make([]int32, len(many))
	for i := range roots {
		roots[i] = -1
	}
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
		{"start negative", backend.Segment{Sequence: 1, Start: -1, Tokens: toks(1), Setup: greedy}, backend.ErrInvalid},
		{"start huge", backend.Segment{Sequence: 1, Start: math.MaxInt, Tokens: toks(1)}, backend.ErrContextFull},
		{"no tokens", backend.Segment{Sequence: 1, Start: 4}, backend.ErrInvalid},
		{"token negative", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(-1)}, backend.ErrInvalid},
		{"token beyond", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1 << 20)}, backend.ErrInvalid},
		{"from beyond", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1), From: 2}, backend.ErrInvalid},
		{"from negative", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1), From: -1}, backend.ErrInvalid},
		{"no setup", backend.Segment{Sequence: 1, Tokens: toks(1)}, backend.ErrInvalid},
		{"bad setup", backend.Segment{Sequence: 1, Tokens: toks(1), Setup: bad}, backend.ErrInvalid},
		{"parents short", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1, 2), Parents: []int32{-1}}, backend.ErrInvalid},
		{"parent later", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1, 2), Parents: []int32{-1, 1}}, backend.ErrInvalid},
		{"parent too low", backend.Segment{Sequence: 1, Start: 4, Tokens: toks(1, 2), Parents: []int32{-1, -2}}, backend.ErrInvalid},
		{"beyond the context", backend.Segment{Sequence: 1, Start: 4, Tokens: make([]backend.Token, 253)}, backend.ErrContextFull},
		{"twice in the batch", backend.Segment{Sequence: 3, Start: 1, Tokens: toks(1)}, backend.ErrInvalid},
		{"memory full", backend.Segment{Sequence: 1, Start: 4, Tokens: make([]backend.Token, 250)}, backend.ErrNoMemory},
		{"too many leaves", backend.Segment{Sequence: 4, Tokens: many, Parents: roots, Setup: greedy}, backend.ErrNoMemory},
		{"too many sequences", backend.Segment{Sequence: 8, Tokens: toks(1), Setup: greedy}, backend.ErrNoMemory},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := func(failing bool) []speculative.Choice {
				e := engine(t, small, "kv_tokens", "256", "context", "256", "sequences", "3")
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

// world drives an engine at random beside the logs that it should hold.
type world struct {
	t    *testing.T
	e    *Engine
	rng  *rand.Rand
	logs map[backend.Sequence][]backend.Token
	tree map[backend.Sequence]*tree
}

// segment makes a random segment that the engine must accept.
func (w *world) segment(id backend.Sequence) backend.Segment {
	log := w.logs[id]
	s := backend.Segment{Sequence: id}
	if tr := w.tree[id]; tr != nil {
		leaf := tr.leaves[w.rng.IntN(len(tr.leaves))]
		s.Keep = tr.path(leaf)[:w.rng.IntN(int(tr.depth[leaf])+2)]
		for _, k := range s.Keep {
			log = append(log, tr.tokens[k])
		}
		delete(w.tree, id)
	}
	s.Start = len(log)
	if len(log) > 0 && w.rng.IntN(3) == 0 {
		s.Start = w.rng.IntN(len(log))
	}
	if s.Start == 0 || w.rng.IntN(4) == 0 {
		s.Setup = greedy
	}
	for range 1 + w.rng.IntN(9) {
		s.Tokens = append(s.Tokens, backend.Token(w.rng.IntN(2000)))
	}
	s.From = w.rng.IntN(len(s.Tokens) + 1)
	w.logs[id] = slices.Clone(log[:s.Start])
	if w.rng.IntN(3) == 0 {
		for i := range s.Tokens {
			s.Parents = append(s.Parents, int32(w.rng.IntN(i+1)-1))
		}
		w.tree[id], _ = newTree(s.Tokens, s.Parents)
		return s
	}
	w.logs[id] = append(w.logs[id], s.Tokens...)
	return s
}

// check compares what the engine said after each row with a run of the row's log from scratch.
func (w *world) check(s backend.Segment, seen map[int][]float32) {
	w.t.Helper()
	prefix := w.logs[s.Sequence][:s.Start]
	tr := w.tree[s.Sequence]
	for i := s.From; i < len(s.Tokens); i++ {
		log := slices.Concat(prefix, s.Tokens[:i+1])
		if tr != nil {
			log = slices.Clone(prefix)
			for _, k := range tr.path(int32(i)) {
				log = append(log, s.Tokens[k])
			}
		}
		near(w.t, seen[i], w.scratch(log))
	}
}

func (w *world) scratch(log []backend.Token) []float32 {
	w.t.Helper()
	var out []float32
	w.e.observe = func(_ backend.Sequence, _ int, l []float32) { out = slices.Clone(l) }
	forward(w.t, w.e, backend.Segment{Sequence: 999, Tokens: log, From: len(log) - 1, Setup: greedy})
	w.e.observe = nil
	if err := w.e.Release(context.Background(), []backend.Sequence{999}); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// near fails when two rows of logits differ by more than the shape of a pass explains.
func near(t *testing.T, a, b []float32) {
	t.Helper()
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d logits, want %d", len(a), len(b))
	}
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
	}
	if worst > 0.2 { // rows that see one token too many or too few differ by several units
		t.Fatalf("logits differ by up to %g", worst)
	}
}

func TestRandomSegmentsAgreeWithRunsFromScratch(t *testing.T) {
	w := &world{t: t, e: engine(t, small, "sequences", "9", "kv_tokens", "2048", "batch", "64"), rng: rand.New(rand.NewPCG(1, 2)),
		logs: map[backend.Sequence][]backend.Token{}, tree: map[backend.Sequence]*tree{}}
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for range rounds {
		var batch []backend.Segment
		for _, id := range w.rng.Perm(6)[:1+w.rng.IntN(4)] {
			batch = append(batch, w.segment(backend.Sequence(id)))
		}
		seen := map[backend.Sequence][][]float32{}
		w.e.observe = func(s backend.Sequence, _ int, l []float32) { seen[s] = append(seen[s], slices.Clone(l)) }
		r, err := w.e.Forward(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		audit(t, w.e)
		for i, s := range batch {
			if r[i].Err != nil || len(r[i].Choices) != len(s.Tokens)-s.From {
				t.Fatalf("%d choices, %v", len(r[i].Choices), r[i].Err)
			}
			rows := map[int][]float32{}
			for j, l := range seen[s.Sequence] {
				rows[s.From+j] = l
			}
			w.check(s, rows)
		}
	}
}

func TestLongSegmentsAreSplit(t *testing.T) {
	e := engine(t, small, "batch", "16")
	log := make([]backend.Token, 200)
	for i := range log {
		log[i] = backend.Token(i * 7 % 2000)
	}
	all := forward(t, e, backend.Segment{Sequence: 1, Tokens: log, Setup: greedy})
	for _, i := range []int{0, 15, 16, 17, 100, 199} {
		c := forward(t, e, backend.Segment{Sequence: 2, Tokens: log[:i+1], From: i, Setup: greedy})
		if c[0].Token != all[i].Token && c[0].Confidence > 0.52 {
			t.Fatalf("row %d: %+v in one piece, %+v alone", i, all[i], c[0])
		}
	}
}

func TestSamplerRunsOnTheLogits(t *testing.T) {
	e := engine(t, small)
	force := backend.Setup{Params: speculative.Params{LogitBias: map[backend.Token]float32{77: 1000}}}
	if c := forward(t, e, backend.Segment{Sequence: 1, Tokens: toks(2045, 5, 6), Setup: &force}); c[0].Token != 77 || c[2].Token != 77 {
		t.Fatalf("%+v", c)
	}
	warm := func(seed uint64) []backend.Token {
		s := backend.Setup{Params: speculative.Params{Temperature: 1, Seed: seed}}
		return draft(t, e, backend.DraftRequest{Segment: backend.Segment{Sequence: 1, Tokens: toks(2045), Setup: &s}, MaxTokens: 20})
	}
	if a, b := warm(1), warm(2); !slices.Equal(a, warm(1)) || slices.Equal(a, b) {
		t.Fatal("the seed does not decide")
	}
}

func TestDraft(t *testing.T) {
	e := engine(t, small)
	prompt := tokens(t, small, "Once upon a time")
	seg := backend.Segment{Sequence: 1, Tokens: prompt, Setup: greedy}
	want := draft(t, e, backend.DraftRequest{Segment: seg, MaxTokens: 20})
	if len(want) != 20 {
		t.Fatalf("%d tokens", len(want))
	}
	next := backend.Segment{Sequence: 1, Start: len(prompt) + 9, Tokens: want[9:10]}
	if got := draft(t, e, backend.DraftRequest{Segment: next, MaxTokens: 10}); !slices.Equal(got, want[10:]) {
		t.Fatalf("went on with %v, want %v", got, want[10:])
	}
	if got := draft(t, e, backend.DraftRequest{Segment: seg}); got != nil {
		t.Fatalf("drafted %v of no tokens", got)
	}
	n := 0
	stop := func(speculative.Choice) bool { n++; return n < 3 }
	if err := e.Draft(t.Context(), backend.DraftRequest{Segment: seg, MaxTokens: 20}, stop); err != nil || n != 3 {
		t.Fatalf("%d tokens, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	err := e.Draft(ctx, backend.DraftRequest{Segment: seg, MaxTokens: 20}, func(speculative.Choice) bool { n++; cancel(); return true })
	if err != nil || n != 1 {
		t.Fatalf("%d tokens after cancel, %v", n, err)
	}
	n = 0
	err = e.Draft(t.Context(), backend.DraftRequest{Segment: seg, MaxTokens: 20}, func(speculative.Choice) bool {
		if n++; n == 4 { // other tokens, as many as the draft has run
			forward(t, e, backend.Segment{Sequence: 1, Tokens: make([]backend.Token, len(prompt)+3), Setup: greedy})
		}
		return true
	})
	if n != 4 || !errors.Is(err, backend.ErrSequenceLost) {
		t.Fatalf("%v after %d tokens", err, n)
	}
	info := e.Info()
	end := backend.Setup{Params: speculative.Params{LogitBias: map[backend.Token]float32{info.EndTokens[0]: 1000}}}
	if got := draft(t, e, backend.DraftRequest{Segment: backend.Segment{Sequence: 1, Tokens: prompt, Setup: &end}, MaxTokens: 9}); len(got) != 1 {
		t.Fatalf("%v, want the end token alone", got)
	}
	never := backend.Setup{Params: speculative.Params{LogitBias: map[backend.Token]float32{}}}
	for _, k := range info.EndTokens {
		never.Params.LogitBias[k] = -1000
	}
	got := draft(t, e, backend.DraftRequest{Segment: backend.Segment{Sequence: 1, Tokens: toks(1), Setup: &never}, MaxTokens: 2 * info.ContextLength})
	if len(got) != info.ContextLength {
		t.Fatalf("%d tokens, the context is %d", len(got), info.ContextLength)
	}
}

func TestMemoryIsFreedByReleaseAndRollback(t *testing.T) {
	e := engine(t, small, "kv_tokens", "512", "context", "400")
	long := backend.Segment{Tokens: make([]backend.Token, 300), From: 300, Setup: greedy}
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
			forward(t, e, backend.Segment{Sequence: id, Tokens: toks(1), Setup: greedy}) // back to one row
			forward(t, e, other)
		}
		if err := e.Release(t.Context(), []backend.Sequence{id, 100, 100}); err != nil {
			t.Fatal(err)
		}
		audit(t, e)
	}
	if e.used != 0 {
		t.Fatalf("%d rows are still held", e.used)
	}
}

// expiring is a context that ends when it has been asked a number of times.
type expiring struct {
	context.Context
	mu   sync.Mutex
	left int
}

func (c *expiring) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancelledForwardKeepsTheRowsBefore(t *testing.T) {
	e := engine(t, small, "batch", "32")
	prompt := toks(2045, 300, 301, 302)
	want := forward(t, e, backend.Segment{Sequence: 1, Tokens: prompt, Setup: greedy, From: 3})
	forward(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: prompt[3:]})
	more := make([]backend.Token, 100)
	ended := 0
	for left := 0; left < 400 && ended < 3; left += 7 { // within a computation, too
		_, err := e.Forward(&expiring{Context: t.Context(), left: left}, []backend.Segment{
			{Sequence: 1, Start: 3, Tokens: more}, {Sequence: 2, Tokens: more, Setup: greedy},
			{Sequence: 3, Tokens: toks(1, 2, 3), Parents: []int32{-1, -1, 0}, Setup: greedy}})
		if err == nil { // it was not asked more often
			ended++
			if err := e.Release(t.Context(), []backend.Sequence{2, 3}); err != nil {
				t.Fatal(err)
			}
			forward(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: prompt[3:]})
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
		audit(t, e)
		if len(e.sequences) != 1 {
			t.Fatal("the new sequences are still there")
		}
		if got := forward(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: prompt[3:]}); got[0].Token != want[0].Token {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if ended == 0 {
		t.Fatal("never ended")
	}
}

func TestConcurrentCalls(t *testing.T) {
	e := engine(t, small)
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
	e := engine(t, small)
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

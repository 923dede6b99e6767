package reference

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

// alone answers what a log yields when it is run token by token, alone, on one thread.
type alone struct {
	e     *Engine
	setup *backend.Setup
	known map[string]outcome
}

type outcome struct {
	logits string // bits
	choice speculative.Choice
}

func key(log []backend.Token) string { return fmt.Sprint(log) }

func bitsOf(logits []float32) string {
	b := make([]byte, 0, 4*len(logits))
	for _, v := range logits {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return string(b)
}

func (a *alone) outcome(t *testing.T, log []backend.Token) outcome {
	t.Helper()
	if o, ok := a.known[key(log)]; ok {
		return o
	}
	var logits string
	a.e.m.observe = func(_ *row, l []float32) { logits = bitsOf(l) }
	for i, k := range log {
		s := backend.Segment{Sequence: 1, Start: i, Tokens: []backend.Token{k}}
		if i == 0 {
			s.Setup = a.setup
		}
		c := forward(t, a.e, s)
		a.known[key(log[:i+1])] = outcome{logits, c[0]}
	}
	return a.known[key(log)]
}

// client is one sequence of the test: what the engine should hold.
type client struct {
	id      backend.Sequence
	log     []backend.Token
	tokens  []backend.Token // of the last segment when it was a tree that hangs to log
	parents []int32
}

func (c *client) path(i int32) []backend.Token {
	var p []backend.Token
	for ; i >= 0; i = c.parents[i] {
		p = append(p, c.tokens[i])
	}
	slices.Reverse(p)
	return p
}

// settle picks a random path of the last tree as the log's continuation and returns its rows.
func (c *client) settle(rng *rand.Rand) []int32 {
	if c.parents == nil {
		return nil
	}
	var keep []int32
	for i := rng.Int32N(int32(len(c.parents))+1) - 1; i >= 0; i = c.parents[i] {
		keep = append(keep, i)
	}
	slices.Reverse(keep)
	if len(keep) > 0 {
		c.log = append(c.log, c.path(keep[len(keep)-1])...)
	}
	c.tokens, c.parents = nil, nil
	return keep
}

// segment makes a random one, and the logs after which its choices are wanted.
func (c *client) segment(rng *rand.Rand, e *Engine, setup *backend.Setup) (backend.Segment, [][]backend.Token) {
	keep := c.settle(rng)
	s := backend.Segment{Sequence: c.id, Keep: keep, Start: len(c.log)}
	if rng.IntN(4) == 0 || s.Start > e.c.context-8 {
		s.Start = rng.IntN(s.Start + 1)
	}
	s.Start = min(s.Start, e.c.context-1)
	c.log = c.log[:s.Start:s.Start]
	if s.Start == 0 {
		s.Setup = setup
	}
	n := 1 + rng.IntN(8)
	if rng.IntN(10) == 0 {
		n = 1 + rng.IntN(e.c.context-s.Start)
	}
	n = min(n, e.c.context-s.Start)
	for range n {
		s.Tokens = append(s.Tokens, rng.Int32N(6)) // few, so that paths repeat
	}
	s.From = rng.IntN(n + 1)
	var wanted [][]backend.Token
	if n <= 8 && rng.IntN(2) == 0 {
		for i := range n {
			s.Parents = append(s.Parents, int32(rng.IntN(i+1)-1))
		}
		c.tokens, c.parents = s.Tokens, s.Parents
		for i := s.From; i < n; i++ {
			wanted = append(wanted, append(slices.Clone(c.log), c.path(int32(i))...))
		}
		return s, wanted
	}
	c.log = append(c.log, s.Tokens...)
	for i := s.From; i < n; i++ {
		wanted = append(wanted, c.log[:s.Start+i+1])
	}
	return s, wanted
}

// Whatever the batches, cuts, rollbacks, trees and threads: every row's logits are bit-equal to
// those of the same log run token by token, alone.
func TestRowsDoNotDependOnTheirNeighbours(t *testing.T) {
	setups := []backend.Setup{
		{PromptLength: 3},
		{PromptLength: 5, Params: speculative.Params{Temperature: 0.9, TopK: 20, RepetitionPenalty: 1.3, FrequencyPenalty: 0.2, Seed: 5}},
	}
	for i, path := range []string{newSynth(3).file(t), models.DraftName} {
		for j := range setups {
			for _, threads := range [][]int{{1, 3}, {2}}[i] {
				t.Run(fmt.Sprintf("model %d setup %d threads %d", i, j, threads), func(t *testing.T) {
					t.Parallel()
					shuffle(t, path, &setups[j], threads, uint64(100*i+10*j+threads))
				})
			}
		}
	}
}

func shuffle(t *testing.T, path string, setup *backend.Setup, threads int, seed uint64) {
	opts := []string{"context", "24"}
	ref := &alone{e: engine(t, path, append(opts, "threads", "1", "weights", "f32")...), setup: setup, known: map[string]outcome{}}
	weights := []string{"f32", "packed"}[seed%2]
	e := engine(t, path, append(opts, "threads", strconv.Itoa(threads), "weights", weights, "kv_tokens", "96")...)
	e.m.pool.worth = 1
	rng := rand.New(rand.NewPCG(seed, 9))
	clients := make([]*client, 5)
	for i := range clients {
		clients[i] = &client{id: backend.Sequence(i + 1)}
	}
	checked, trees, full := 0, 0, 0
	for range 40 {
		var batch []backend.Segment
		var wanted [][][]backend.Token
		rng.Shuffle(len(clients), func(i, j int) { clients[i], clients[j] = clients[j], clients[i] })
		for _, c := range clients[:1+rng.IntN(len(clients))] {
			s, w := c.segment(rng, e, setup)
			batch, wanted = append(batch, s), append(wanted, w)
		}
		seen := map[*task][]string{}
		e.m.observe = func(r *row, l []float32) { seen[r.task] = append(seen[r.task], bitsOf(l)) }
		results, err := e.Forward(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		logits := map[backend.Sequence][]string{}
		for k, l := range seen {
			logits[k.Sequence] = l
		}
		for i, r := range results {
			if errors.Is(r.Err, backend.ErrNoMemory) {
				full++
				forget(t, e, clients, batch[i].Sequence)
				continue
			}
			if r.Err != nil || len(r.Choices) != len(wanted[i]) {
				t.Fatalf("segment %+v: %d choices of %d, %v", batch[i], len(r.Choices), len(wanted[i]), r.Err)
			}
			for j, log := range wanted[i] {
				want := ref.outcome(t, log)
				if logits[batch[i].Sequence][j] != want.logits || r.Choices[j] != want.choice {
					t.Fatalf("log %v in segment %+v: choice %+v, alone %+v", log, batch[i], r.Choices[j], want.choice)
				}
				checked++
			}
			if batch[i].Parents != nil {
				trees++
			}
		}
		if rng.IntN(6) == 0 {
			forget(t, e, clients, clients[0].id)
		}
		audit(t, e)
	}
	if checked < 100 || trees < 10 || full == 0 {
		t.Fatalf("only %d rows and %d trees were checked, memory was full %d times", checked, trees, full)
	}
}

// forget releases a sequence.
func forget(t *testing.T, e *Engine, clients []*client, id backend.Sequence) {
	t.Helper()
	if err := e.Release(t.Context(), []backend.Sequence{id, 99}); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if c.id == id {
			*c = client{id: id}
		}
	}
}

// audit checks the books of the KV memory.
func audit(t *testing.T, e *Engine) {
	t.Helper()
	held := len(e.kv.free)
	owner := map[*float32]bool{}
	for id, s := range e.sequences {
		held += len(s.pages)
		rows := s.rows
		if s.tree != nil {
			rows += len(s.tree.tokens)
		}
		if len(s.pages) != pagesFor(rows) || s.sampler.Len() != s.rows {
			t.Fatalf("sequence %d: %d pages, %d tokens for %d rows", id, len(s.pages), s.sampler.Len(), rows)
		}
		for _, g := range s.pages {
			if owner[&g[0]] {
				t.Fatal("a page has two owners")
			}
			owner[&g[0]] = true
		}
	}
	for _, g := range e.kv.free {
		if owner[&g[0]] {
			t.Fatal("a free page has an owner")
		}
	}
	if held != e.kv.made || e.kv.made > e.kv.all {
		t.Fatalf("%d pages are accounted for, %d were made, %d allowed", held, e.kv.made, e.kv.all)
	}
}

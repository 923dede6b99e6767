package translate

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// walk asks a translator for choices along logs that grow, are cut and branch, as a proposer does.
func walk(t testing.TB, x *Model, rng *rand.Rand, some func() []Token, steps, longest int) {
	t.Helper()
	var log []Token
	for range steps {
		start := len(log)
		if start > 0 {
			start = rng.IntN(start + 1)
		}
		if rng.IntN(4) > 0 {
			start = max(0, len(log)-rng.IntN(4))
		}
		if start > longest {
			start = 0
		}
		tokens := some()
		log = append(log[:start], tokens...)
		seg := backend.Segment{Sequence: 1, Start: start, Tokens: tokens, From: len(tokens) - rng.IntN(min(2, len(tokens))+1)}
		if start == 0 {
			seg.Setup = &backend.Setup{PromptLength: len(tokens), Params: speculative.Params{Temperature: float32(rng.IntN(2)), RepetitionPenalty: 1.2, Seed: 3}}
		}
		r, err := x.Forward(t.Context(), []backend.Segment{seg})
		if err != nil || r[0].Err != nil {
			t.Fatalf("%+v: %v %v", seg, err, r[0].Err)
		}
		for _, c := range r[0].Choices {
			size := Token(x.Info().VocabularySize)
			if c.Token < 0 || c.Token >= size || c.Second >= size || !(c.Confidence >= 0 && c.Confidence <= 1) {
				t.Fatalf("choice %+v", c)
			}
			if c.Confidence > 0 && rng.IntN(3) > 0 { // go on with it
				log = append(log, c.Token)
				log = log[:len(log)-1]
			}
		}
	}
}

// Whatever the log is, even no text at all, the draft is asked for what it can run.
func TestAnyLogIsTranslated(t *testing.T) {
	all := fixtures(t)
	rng := rand.New(rand.NewPCG(7, 8))
	target, draft := all["demo"], all["demo"]
	if l := all["llama-spm"]; l != nil {
		target = l
	}
	m := &teller{tok: draft, text: []byte("the draft knows little"), context: 100, seqs: map[backend.Sequence][]Token{}}
	x := New(m, draft, target)
	walk(t, x, rng, func() []Token {
		out := make([]Token, 1+rng.IntN(30))
		for i := range out {
			if out[i] = Token(rng.IntN(target.Size())); rng.IntN(3) == 0 {
				out[i] = Token(rng.IntN(300)) // control tokens and bytes
			}
		}
		return out
	}, 400, 600)
	if len(m.bad) > 0 {
		t.Fatal(m.bad[0])
	}
	if err := x.Release(t.Context(), []backend.Sequence{1}); err != nil || len(m.seqs) > 0 || len(x.seqs) > 0 {
		t.Errorf("%v, %d sequences", err, len(m.seqs))
	}
}

func FuzzTranslate(f *testing.F) {
	target := tokenizerOf(f, "outrider-demo-target")
	f.Add(uint64(1), "Once upon a time \xf0\x9f\x98 <|end|> \u200b ∆")
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := &teller{tok: target, text: []byte(text), context: 32, seqs: map[backend.Sequence][]Token{}}
		x := New(m, target, target)
		walk(t, x, rng, func() []Token {
			if t := target.Encode(text, optionsOf(rng)); len(t) > 0 {
				at := rng.IntN(len(t))
				return t[at:min(len(t), at+1+rng.IntN(8))]
			}
			return []Token{Token(rng.IntN(target.Size()))}
		}, 20, 200)
		if len(m.bad) > 0 {
			t.Fatal(m.bad[0])
		}
	})
}

// A draft whose context is shorter than the log goes on with the log's end.
func TestShortContextSlides(t *testing.T) {
	tok := tokenizerOf(t, "outrider-demo-draft")
	text := texts(rand.New(rand.NewPCG(5, 6)), 1)[0]
	m := &teller{tok: tok, text: []byte(text), context: 64, seqs: map[backend.Sequence][]Token{}}
	x := New(m, tok, tok)
	log := tok.Encode(text, optionsOf(rand.New(rand.NewPCG(1, 1))))
	agreed := 0
	for n := 1; n < len(log); n++ {
		seg := backend.Segment{Sequence: 1, Start: n - 1, Tokens: log[n-1 : n]}
		if n == 1 {
			seg.Setup = &backend.Setup{PromptLength: 1}
		}
		r, err := x.Forward(t.Context(), []backend.Segment{seg})
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r[0].Err)
		}
		if r[0].Choices[0].Token == log[n] {
			agreed++
		}
	}
	if len(m.bad) > 0 || agreed < len(log)*9/10 {
		t.Errorf("%d of %d agreed; %v", agreed, len(log), m.bad)
	}
	if per := float64(m.rows) / float64(len(log)); per > 3.5 {
		t.Errorf("%.1f rows of the draft for each token", per)
	}
}

// Rows are kept as far as they can be: a token costs few rows of the draft.
func TestRowsAreKept(t *testing.T) {
	tok := tokenizerOf(t, "outrider-demo-draft")
	text := texts(rand.New(rand.NewPCG(9, 6)), 1)[0]
	m := &teller{tok: tok, text: []byte(text), context: 4096, seqs: map[backend.Sequence][]Token{}}
	x := New(m, tok, tok)
	log := tok.Encode(text, optionsOf(rand.New(rand.NewPCG(1, 1))))
	for n := 1; n < len(log); n++ {
		tail := log[n-1 : n]
		start := n - 1
		seg := backend.Segment{Sequence: 1, Start: start, Tokens: tail}
		if n == 1 {
			seg.Setup = &backend.Setup{PromptLength: 1}
		}
		if n%10 == 0 { // the target says otherwise, and then as before
			seg.Tokens = []Token{tok.Encode("z", optionsOf(rand.New(rand.NewPCG(1, 1))))[0]}
			if _, err := x.Forward(t.Context(), []backend.Segment{seg}); err != nil {
				t.Fatal(err)
			}
			seg.Tokens = tail
		}
		if _, err := x.Forward(t.Context(), []backend.Segment{seg}); err != nil {
			t.Fatal(err)
		}
	}
	if per := float64(m.rows) / float64(len(log)); per > 3 {
		t.Errorf("%.1f rows of the draft for each token", per)
	}
}

func TestInvalidSegments(t *testing.T) {
	tok := tokenizerOf(t, "outrider-demo-draft")
	m := &teller{tok: tok, context: 64, seqs: map[backend.Sequence][]Token{}}
	x := New(m, tok, tok)
	for i, c := range []struct {
		s  backend.Segment
		is error
	}{
		{backend.Segment{Tokens: []Token{1}}, backend.ErrInvalid},
		{backend.Segment{Setup: &backend.Setup{}}, backend.ErrInvalid},
		{backend.Segment{Tokens: []Token{1}, Start: 5}, backend.ErrSequenceLost},
		{backend.Segment{Tokens: []Token{1 << 20}, Setup: &backend.Setup{}}, backend.ErrInvalid},
		{backend.Segment{Tokens: []Token{-1}, Setup: &backend.Setup{}}, backend.ErrInvalid},
		{backend.Segment{Tokens: []Token{1}, From: 2, Setup: &backend.Setup{}}, backend.ErrInvalid},
		{backend.Segment{Tokens: []Token{1}, Parents: []int32{-1}, Setup: &backend.Setup{}}, backend.ErrInvalid},
	} {
		if r, err := x.Forward(t.Context(), []backend.Segment{c.s}); err != nil || !errors.Is(r[0].Err, c.is) {
			t.Errorf("%d: %v, %v", i, err, r[0].Err)
		}
	}
}

// Alone, the translated draft writes the target's tokens to the end.
func TestDraftAlone(t *testing.T) {
	tok := tokenizerOf(t, "outrider-demo-draft")
	const text = "Once upon a time, there was a dog."
	m := &teller{tok: tok, text: []byte(text), context: 64, seqs: map[backend.Sequence][]Token{}}
	x := New(m, tok, tok)
	log := tok.Encode(text, optionsOf(rand.New(rand.NewPCG(1, 1))))
	var got []Token
	req := backend.DraftRequest{MaxTokens: 50, Segment: backend.Segment{Sequence: 1, Tokens: log[:3], Setup: &backend.Setup{PromptLength: 3}}}
	if err := x.Draft(t.Context(), req, func(c speculative.Choice) bool { got = append(got, c.Token); return true }); err != nil {
		t.Fatal(err)
	}
	e, _ := tok.EOS()
	if want := append(slices.Clone(log[3:]), e); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

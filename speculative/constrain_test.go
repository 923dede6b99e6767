package speculative

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
)

// listed accepts a fixed list of tokens and counts what it is told.
type listed struct {
	tokens   []Token
	fallback Token
	text     []Token
	asked    int
	searched int
}

func (a *listed) Push(t Token)         { a.text = append(a.text, t) }
func (a *listed) Truncate(n int)       { a.text = a.text[:min(n, len(a.text))] }
func (a *listed) Accepts(t Token) bool { a.asked++; return slices.Contains(a.tokens, t) }
func (a *listed) Fallback() Token      { return a.fallback }
func (a *listed) Each(yield func(Token) bool) {
	a.searched++
	for _, t := range a.tokens {
		if !yield(t) {
			return
		}
	}
}

// slowConstrained is the definition, spelt out.
func slowConstrained(c chooseCase, tokens []Token, fallback Token) Choice {
	only := func(rows []row) []row {
		var out []row
		for _, r := range rows {
			if slices.Contains(tokens, r.id) {
				out = append(out, r)
			}
		}
		return out
	}
	survivors := slowRank(c.p, c.promptLen, c.log, c.logits)
	if rows := only(survivors[:min(len(survivors), 32)]); len(rows) > 0 {
		return choiceOf(rows)
	}
	if rows := only(survivors); len(rows) > 0 {
		return choiceOf(rows)
	}
	p := c.p
	p.TopK, p.TopP, p.MinP = 0, 0, 0
	rows := only(slowRank(p, c.promptLen, c.log, c.logits))
	for t := range Token(len(c.logits)) { // those without a score come last
		if slices.Contains(tokens, t) && !slices.ContainsFunc(rows, func(r row) bool { return r.id == t }) {
			rows = append(rows, row{t, math.Inf(-1)})
		}
	}
	if len(rows) == 0 {
		return Choice{Token: fallback, Confidence: 0.5, Second: -1}
	}
	if len(rows) > 1 && math.IsInf(rows[1].score, -1) {
		rows = rows[:1]
	}
	return choiceOf(rows)
}

func acceptable(r *rand.Rand, vocabulary int) []Token {
	var out []Token
	some := []float64{0, 0.01, 0.1, 0.5, 1}[r.IntN(5)]
	for t := range vocabulary + 2 {
		if r.Float64() < some {
			out = append(out, Token(t))
		}
	}
	return out
}

func (c chooseCase) constrained(a *listed) Choice {
	s := NewSampler(c.p, c.promptLen)
	s.Constrain(a)
	for _, t := range c.log {
		s.Push(t)
	}
	return s.Choose(slices.Clone(c.logits))
}

func TestConstrainedEqualsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	searched := 0
	for i := range 4000 {
		c := randomCase(r)
		a := &listed{tokens: acceptable(r, len(c.logits)), fallback: 3}
		want := slowConstrained(c, a.tokens, a.fallback)
		if got := c.constrained(a); !sameChoice(got, want) {
			t.Fatalf("case %d: got %+v, want %+v\n%+v, acceptable %v", i, got, want, c, a.tokens)
		}
		if !slices.Equal(a.text, c.log[c.promptLen:]) {
			t.Fatalf("the grammar was told %v of %v, prompt %d", a.text, c.log, c.promptLen)
		}
		searched += a.searched
		if a.asked > ranked {
			t.Fatalf("%d tokens were tried", a.asked)
		}
	}
	if searched < 500 {
		t.Errorf("the whole vocabulary was searched %d times only", searched)
	}
}

// Everything acceptable is no grammar.
func TestConstrainedByNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for range 1000 {
		c := randomCase(r)
		a := &listed{}
		for k := range c.logits {
			a.tokens = append(a.tokens, Token(k))
		}
		want := c.run()
		if got := c.constrained(a); !sameChoice(got, want) && want.Confidence != 0.5 { // but for logits of which none counts
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

// The grammar follows the log back and forth, and never sees the prompt.
func TestConstrainFollowsTheLog(t *testing.T) {
	a := &listed{}
	s := NewSampler(Params{}, 3)
	s.Constrain(a)
	for i := range 6 {
		s.Push(Token(i))
	}
	for _, step := range []struct {
		cut  int
		want []Token
	}{{5, []Token{3, 4}}, {4, []Token{3}}, {2, nil}} {
		s.Truncate(step.cut)
		if !slices.Equal(a.text, step.want) {
			t.Errorf("cut to %d: %v, want %v", step.cut, a.text, step.want)
		}
	}
	s.Push(8)
	s.Push(9)
	if !slices.Equal(a.text, []Token{9}) {
		t.Errorf("%v", a.text)
	}
}

// constrainedVectors is testdata/choose_grammar_v1.json.
type constrainedVectors struct {
	Definition []string            `json:"definition"`
	Vectors    []constrainedVector `json:"vectors"`
}

type constrainedVector struct {
	chooseVector
	Acceptable []Token `json:"acceptable"`
	Fallback   Token   `json:"fallback"`
}

var constrainedDefinition = []string{
	"As choose_v1.json, where the choice is made among what a grammar accepts (acceptable); fallback is the lowest end token.",
	"The 32 highest x + noise that survive the filters: token is the first acceptable one, second the next acceptable one or -1.",
	"With none of them acceptable: the same of all survivors; with none there, of all tokens without the filters, those dropped for their logits last, by id, and never second.",
	"With nothing acceptable at all: token is fallback, confidence 0.5, second -1.",
}

func TestConstrainedVectors(t *testing.T) {
	path := filepath.Join("testdata", "choose_grammar_v1.json")
	if *writeVectors {
		r := rand.New(rand.NewPCG(25, 26))
		var out []constrainedVector
		for _, v := range makeChooseVectors()[:60] {
			c, err := v.toCase()
			if err != nil {
				t.Fatal(err)
			}
			w := constrainedVector{v, append([]Token{}, acceptable(r, len(c.logits))...), 2}
			want := slowConstrained(c, w.Acceptable, w.Fallback)
			w.Token, w.Second, w.Confidence = want.Token, want.Second, want.Confidence
			out = append(out, w)
		}
		writeVectorFile(t, path, constrainedDefinition, out)
	}
	var file constrainedVectors
	readJSON(t, path, &file)
	if len(file.Vectors) < 60 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
	for i, v := range file.Vectors {
		c, err := v.toCase()
		if err != nil {
			t.Fatal(err)
		}
		want := Choice{Token: v.Token, Second: v.Second, Confidence: v.Confidence}
		if got := c.constrained(&listed{tokens: v.Acceptable, fallback: v.Fallback}); !sameChoice(got, want) {
			raw, _ := json.Marshal(v)
			t.Errorf("vector %d: got %+v, want %+v: %s", i, got, want, raw)
		}
	}
}

// BenchmarkConstrained is Choose under a grammar: the best token is acceptable, or one in 100 is.
func BenchmarkConstrained(b *testing.B) {
	for _, every := range []Token{1, 100, 10000} {
		for _, p := range []Params{{}, {Temperature: 0.8}, {Temperature: 0.8, TopP: 0.95}} {
			b.Run(fmt.Sprintf("one in %d/T %g top-p %g", every, p.Temperature, p.TopP), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				logits, scratch := make([]float32, 128_000), make([]float32, 128_000)
				for i := range logits {
					logits[i] = float32(r.NormFloat64() * 2.5)
				}
				s := NewSampler(p, 0)
				s.Constrain(oneIn(every))
				for b.Loop() {
					copy(scratch, logits)
					s.Choose(scratch)
				}
			})
		}
	}
}

type oneIn Token

func (oneIn) Push(Token)             {}
func (oneIn) Truncate(int)           {}
func (n oneIn) Accepts(t Token) bool { return t%Token(n) == 0 }
func (oneIn) Fallback() Token        { return 0 }
func (n oneIn) Each(yield func(Token) bool) {
	for t := Token(0); t < 128_000; t += Token(n) {
		if !yield(t) {
			return
		}
	}
}

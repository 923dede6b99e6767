package lookup

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func tokens(s string) []Token {
	var out []Token
	for _, b := range []byte(s) {
		out = append(out, Token(b))
	}
	return out
}

// chain guesses on and on after path.
func chain(l *Lookup, path []Token, n int) string {
	var out []byte
	path = slices.Clone(path)
	for range n {
		g, ok := l.Guess(path)
		if !ok {
			break
		}
		path, out = append(path, g.Token), append(out, byte(g.Token))
	}
	return string(out)
}

func TestGuessGoesOnAsBefore(t *testing.T) {
	l := New(tokens("the cat sat on the mat. A dog. the cat"), nil)
	if got := chain(l, nil, 17); got != " sat on the mat. " {
		t.Errorf("got %q", got)
	}
	if got := chain(l, tokens(" sat. A "), 4); got != "dog." {
		t.Errorf("after a path: %q", got)
	}
	if g, ok := New(tokens("abcdefg"), nil).Guess(nil); ok {
		t.Errorf("nothing is repeated, got %v", g)
	}
	if got := chain(New(tokens("xababab"), nil), nil, 6); got != "ababab" { // on into the path itself
		t.Errorf("a loop: %q", got)
	}
}

func TestTheLongestMatchCounts(t *testing.T) {
	l := New(tokens("one two three A. zwo three B. one two three"), nil)
	if got := chain(l, nil, 2); got != " A" {
		t.Errorf("got %q", got)
	}
}

// An answer that differs from the prediction in words is followed again after each of them.
func TestPredictionIsFollowedAgain(t *testing.T) {
	for _, c := range []struct{ name, predicted, answer string }{
		{"as told", "Max found a ball in the park and ran home.", "Max found a ball in the park and ran home."},
		{"other words", "Max found a ball in the park and ran home.", "Max lost a ball in the wood and ran home."},
		{"more", "Max found a ball in the park.", "Well: Max found a big red ball in the park."},
		{"less", "Max found a big red ball in the large park.", "Max found a ball in the park."},
	} {
		l := New(tokens("?!"), tokens(c.predicted))
		hits, answer := 0, tokens(c.answer)
		for _, a := range answer {
			if g, ok := l.Guess(nil); ok && g.Token == a {
				hits++
			}
			l.Commit([]Token{a})
		}
		wrong := len(answer) - hits
		if c.name == "as told" && wrong > 0 || wrong > 17 || hits < len(answer)/2 {
			t.Errorf("%s: %d of %d are right", c.name, hits, len(answer))
		}
	}
}

// What is told is measured: guesses of a class are right as often as they say.
func TestConfidenceIsMeasured(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := make([]Token, 4000)
	for i := range text {
		text[i] = Token(rng.IntN(1000))
	}
	answer := slices.Clone(text)
	for i := range answer {
		if rng.IntN(4) == 0 {
			answer[i] = Token(1000 + rng.IntN(1000))
		}
	}
	l := New([]Token{1}, text)
	told, hits, n := 0.0, 0.0, 0.0
	for i, a := range answer {
		if g, ok := l.Guess(nil); ok && i > 200 {
			told, n = told+g.Confidence, n+1
			if g.Token == a {
				hits++
			}
		}
		l.Commit([]Token{a})
	}
	if told, hits = told/n, hits/n; n < 3500 || hits < 0.70 || told < hits-0.04 || told > hits+0.04 {
		t.Errorf("%.0f guesses, %.3f right, told %.3f", n, hits, told)
	}
}

// A guess is what a naive search finds, leaves no trace, and never fails on any text.
func TestGuessAgainstNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		some := func(n int) []Token {
			out := make([]Token, rng.IntN(n))
			for i := range out {
				out[i] = Token(rng.IntN(40)) - 1
			}
			return out
		}
		log, path := some(60), some(20)
		l := New(log, nil)
		for range 5 {
			g, ok := l.Guess(path)
			full := slices.Concat(log, path)
			end, length := naive(full, len(log))
			if ok != (length > 0) || ok && g.Token != full[end] {
				t.Fatalf("%v + %v: got %v %v, want %d at %d", log, path, g, ok, length, end)
			}
			more := some(8)
			log = append(log, more...)
			l.Commit(more)
		}
	}
}

func naive(full []Token, log int) (end, length int) {
	for e := min(log, len(full)-1); e > 0; e-- {
		if n := match(full[:e], full); n >= shortKey && n > length {
			end, length = e, n
		}
	}
	return end, length
}

func FuzzLookup(f *testing.F) {
	f.Add([]byte("abcabc"), []byte("abd"), []byte("ab"), []byte("c"))
	f.Add([]byte{}, []byte("aaaa"), []byte("aaaaaaaaaa"), []byte("aab"))
	f.Fuzz(func(t *testing.T, prompt, predicted, answer, path []byte) {
		l := New(tokens(string(prompt)), tokens(string(predicted)))
		for i, a := range answer {
			g, ok := l.Guess(tokens(string(path)))
			again, found := l.Guess(tokens(string(path)))
			if g != again || ok != found || !(g.Confidence >= 0 && g.Confidence < 1) {
				t.Fatalf("at %d: %v %v, then %v %v", i, g, ok, again, found)
			}
			l.Commit([]Token{Token(a)})
		}
	})
}

func BenchmarkGuess(b *testing.B) {
	text := make([]Token, 8192)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range text {
		text[i] = Token(rng.IntN(50))
	}
	l := New(text, text)
	path := text[:32]
	b.ReportAllocs()
	for b.Loop() {
		l.Guess(path)
	}
}

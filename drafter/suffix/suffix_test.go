package suffix

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

func tokens(s string) (out []Token) {
	for _, b := range []byte(s) {
		out = append(out, Token(b))
	}
	return out
}

var (
	me  = Key{User: "me", Label: "l", Vocabulary: "v"}
	now = time.Unix(1_700_000_000, 0)
)

func chain(f *Follower, text string, n int) string {
	full := tokens(text)
	for range n {
		g, ok := f.Guess(full)
		if !ok {
			break
		}
		full = append(full, g.Token)
	}
	var out []byte
	for _, t := range full[len(text):] {
		out = append(out, byte(t))
	}
	return string(out)
}

func TestGuessGoesOnAsBefore(t *testing.T) {
	s := New()
	s.Learn(me, tokens("the cat sat on the mat"), now)
	s.Learn(me, tokens("a dog ran in the park!"), now)
	if got := chain(s.Follow(me), "I say: the cat", 15); got != " sat on the mat" {
		t.Errorf("got %q", got)
	}
	if g, ok := s.Follow(me).Guess(tokens("sat on the mat")); ok && g.Token < 0 { // not on into the next answer
		t.Errorf("after an answer: %+v", g)
	}
	if got := chain(s.Follow(me), "xyz", 3); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	for range 3 { // what came more often counts
		s.Learn(me, tokens("they ran in the wood."), now)
	}
	if got := chain(s.Follow(me), "we ran in the ", 5); got != "wood." {
		t.Errorf("got %q", got)
	}
}

// What was learned under one key is never proposed under another, nor after it was forgotten.
func TestPartitions(t *testing.T) {
	s := New()
	s.Learn(me, tokens("the secret is 4711 0815"), now)
	for _, k := range []Key{{"you", "l", "v"}, {"me", "k", "v"}, {"me", "l", "w"}, {"", "l", "v"}, {}} {
		if got := chain(s.Follow(k), "the secret is ", 9); got != "" {
			t.Errorf("%+v hears %q", k, got)
		}
	}
	if s.Forget("you") != 0 || s.Forget("me") != 1 || len(s.List()) != 0 || chain(s.Follow(me), "the secret is ", 9) != "" {
		t.Errorf("not forgotten: %v", s.List())
	}
}

func TestBounds(t *testing.T) {
	s := New()
	answer := make([]Token, 5000)
	for i := range answer {
		answer[i] = Token(i % 997)
	}
	for range 15 {
		s.Learn(me, answer, now)
	}
	if l := s.List(); l[0].Answers != 13 || l[0].Tokens != 65000 {
		t.Errorf("%+v", l)
	}
	s.Learn(me, make([]Token, 3*MaxPart), now)
	if l := s.List(); l[0].Tokens != MaxPart-1 {
		t.Errorf("a long answer: %+v", l)
	}
	for i := range 40 {
		s.Learn(Key{User: string(rune('a' + i))}, make([]Token, 40000), now.Add(time.Duration(i)*time.Second))
	}
	all := 0
	for _, i := range s.List() {
		all += i.Tokens + i.Answers
	}
	if all > MaxTokens || chain(s.Follow(me), "\x00\x00\x00", 1) != "" {
		t.Errorf("%d tokens, the oldest kept", all)
	}
	s.Learn(me, []Token{1, 2, 3, 4, 5, 6, 7, -9, 9}, now)
	s.Learn(me, tokens("short"), now)
	if s.Forget("me") != 0 {
		t.Error("what is no answer was kept")
	}
}

// What is told is measured.
func TestConfidenceIsMeasured(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := make([]Token, 4000)
	for i := range text {
		text[i] = Token(rng.IntN(1000))
	}
	s := New()
	s.Learn(me, text, now)
	f := s.Follow(me)
	log, told, hits, n := slices.Clone(text[:30]), 0.0, 0.0, 0.0
	for i := 30; i < len(text); i++ {
		next := text[i]
		if rng.IntN(8) == 0 {
			next = Token(1000 + rng.IntN(1000))
		}
		if g, ok := f.Guess(log); ok && i > 300 {
			told, n = told+g.Confidence, n+1
			if g.Token == next {
				hits++
			}
		}
		f.Observe(log, next)
		log = append(log, next)
	}
	if told, hits = told/n, hits/n; n < 1000 || told < hits-0.05 || told > hits+0.05 {
		t.Errorf("%.0f guesses, %.3f right, told %.3f", n, hits, told)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "drafts")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s.Learn(me, tokens("the cat sat on the mat"), now)
	s.Learn(Key{User: "you"}, tokens("a dog ran in the park"), now)
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i, err)
	}
	again, err := Open(path)
	if err != nil || !slices.Equal(again.List(), s.List()) || chain(again.Follow(me), "cat s", 13) != "at on the mat" {
		t.Errorf("%v: %v", err, again.List())
	}
	if again.Forget("me"); again.Save() != nil { // by another process
		t.Error("not saved")
	}
	if chain(s.Follow(me), "cat s", 20) != "" {
		t.Error("what another process forgot is still proposed")
	}
	s.Learn(Key{User: "you"}, tokens("a dog ran in the park"), now)
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if last, err := Open(path); err != nil || len(last.List()) != 1 {
		t.Errorf("%v: %v", err, last.List())
	}
	data, _ := os.ReadFile(path)
	for name, bad := range map[string][]byte{"empty": {}, "cut": data[:len(data)-7], "other": []byte("something else entirely"),
		"flipped": append(append(bytes.Clone(data[:40]), data[40]^1), data[41:]...)} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if !errors.Is(err, ErrFile) || len(s.List()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
		s.Learn(me, tokens("the cat sat on the mat"), now)
		if err := s.Save(); err != nil {
			t.Error(err)
		}
		if again, err := Open(path); err != nil || len(again.List()) != 1 {
			t.Errorf("%s: not replaced: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	s := New()
	s.Learn(me, tokens("the cat sat on the mat"), now)
	f.Add(format(s.parts))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, sealed(data)} {
			parts, err := parse(d)
			if err != nil {
				continue
			}
			again, err := parse(format(parts))
			if err != nil || len(again) != len(parts) {
				t.Fatalf("%d partitions, then %d: %v", len(parts), len(again), err)
			}
			for _, p := range parts {
				p.find(p.text[:len(p.text)-1])
			}
		}
	})
}

// sealed gives a body its checksum, so that what is behind it is read, too.
func sealed(body []byte) []byte {
	data := format(nil)
	data = append(data[:len(magic)], body...)
	return binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

func BenchmarkGuess(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	text := make([]Token, MaxPart-1)
	for i := range text {
		text[i] = Token(rng.IntN(200))
	}
	s := New()
	s.Learn(me, text, now)
	f := s.Follow(me)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.Guess(text[:100+i%60000])
	}
}

func BenchmarkLearn(b *testing.B) {
	text := make([]Token, MaxPart/2)
	for i := range text {
		text[i] = Token(i * 7919 % 32000)
	}
	s := New()
	s.Learn(me, text, now)
	for b.Loop() {
		s.Learn(me, text[:300], now)
	}
}

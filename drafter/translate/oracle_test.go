package translate

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

func pct(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

// teller is a draft that knows a text by heart: asked after a part of it, it says what comes next. It
// holds rows as strictly as an engine does.
type teller struct {
	tok     *tokenizer.Tokenizer
	text    []byte
	context int
	seqs    map[backend.Sequence][]Token
	strayed int // choices asked for after what is no part of the text
	asked   int
	rows    int
	bad     []string
}

func (m *teller) Info() backend.Info {
	return backend.Info{Name: "teller", ContextLength: m.context, VocabularySize: m.tok.Size(), Vocabulary: m.tok.Fingerprint(), EndTokens: m.tok.EndTokens()}
}

func (m *teller) Release(_ context.Context, ids []backend.Sequence) error {
	for _, id := range ids {
		delete(m.seqs, id)
	}
	return nil
}

func (m *teller) Draft(context.Context, backend.DraftRequest, func(speculative.Choice) bool) error {
	return backend.ErrInvalid
}

func (m *teller) Forward(_ context.Context, batch []backend.Segment) ([]backend.Result, error) {
	var out []backend.Result
	for _, s := range batch {
		rows, ok := m.seqs[s.Sequence]
		switch {
		case len(s.Tokens) == 0 || s.From > len(s.Tokens) || s.Start == 0 && s.Setup == nil || slices.ContainsFunc(s.Tokens, func(k Token) bool { return k < 0 || int(k) >= m.tok.Size() }):
			m.bad = append(m.bad, fmt.Sprintf("%+v", s))
			return []backend.Result{{Err: backend.ErrInvalid}}, nil
		case s.Start > 0 && !ok || s.Start > len(rows):
			m.bad = append(m.bad, fmt.Sprintf("start %d of %d rows", s.Start, len(rows)))
			return []backend.Result{{Err: backend.ErrSequenceLost}}, nil
		case s.Start+len(s.Tokens) > m.context:
			m.bad = append(m.bad, fmt.Sprintf("rows up to %d", s.Start+len(s.Tokens)))
			return []backend.Result{{Err: backend.ErrContextFull}}, nil
		}
		m.rows += len(s.Tokens)
		m.seqs[s.Sequence] = append(slices.Clone(rows[:s.Start]), s.Tokens...)
		var r backend.Result
		if s.From < len(s.Tokens) {
			k := m.next(m.seqs[s.Sequence])
			r.Choices = []speculative.Choice{{Token: k, Confidence: 0.9, Second: -1}}
			r.Logprobs = []speculative.Logprobs{{Chosen: -0.1, Top: []speculative.TokenLogprob{{Token: k, Logprob: -0.1}}}}
		}
		out = append(out, r)
	}
	return out, nil
}

// next looks the end of the log up in the text, which is why a text must not repeat itself.
func (m *teller) next(log []Token) Token {
	m.asked++
	var said []byte
	for _, k := range log {
		said = append(said, m.tok.Bytes(k)...)
	}
	if m.tok.SpacePrefix() && len(said) > 0 && said[0] == ' ' {
		said = said[1:]
	}
	at := len(said)
	if !bytes.HasPrefix(m.text, said) {
		tail := said[max(0, len(said)-40):]
		i := bytes.Index(m.text, tail)
		if i < 0 || len(tail) < 12 {
			m.strayed++
			return Token(m.asked % m.tok.Size())
		}
		at = i + len(tail)
	}
	if at >= len(m.text) {
		e, _ := m.tok.EOS()
		return max(e, 0)
	}
	from := at
	for from > 0 && !utf8.RuneStart(m.text[from]) {
		from--
	}
	tokens := m.tok.Encode(string(m.text[from:min(len(m.text), from+200)]), tokenizer.Options{Continue: from > 0})
	for from < at && len(tokens) > 0 { // the log ends within a character
		from += len(m.tok.Bytes(tokens[0]))
		tokens = tokens[1:]
	}
	if from != at || len(tokens) == 0 {
		m.strayed++
		return 0
	}
	return tokens[0]
}

// Texts in many scripts; none repeats itself.
func texts(rng *rand.Rand, n int) []string {
	alphabets := []string{"abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщ", "αβγδεζηθικλμνξοπρστυφχψω", "אבגדהוזחטיכלמנסעפצקרשת",
		"ابتثجحخدذرزسشصضطظعغفقكلمن", "的一是不了人我在有他这中大来上国", "あいうえおかきくけこさしすせそ", "가나다라마바사아자차카타파하", "हिन्दीमेंलिखाहै", "ไทยภาษาเขียน",
		"😀😁😂🤣😃👩‍👩‍👧🏳️‍🌈🇩🇪", "0123456789", "{}[]()<>;:=+-*/_\"'"}
	var out []string
	for range n {
		var b strings.Builder
		for b.Len() < 600 {
			a := []rune(alphabets[rng.IntN(len(alphabets))])
			for range 1 + rng.IntN(9) {
				b.WriteRune(a[rng.IntN(len(a))])
			}
			b.WriteString([]string{" ", " ", " ", ", ", "\n", ". ", "  ", "\n\n\t", ""}[rng.IntN(9)])
		}
		out = append(out, strings.TrimSpace(b.String()))
	}
	return out
}

// fixtures are real vocabularies, as far as they are there.
func fixtures(t testing.TB) map[string]*tokenizer.Tokenizer {
	all := map[string]*tokenizer.Tokenizer{"demo": tokenizerOf(t, "outrider-demo-draft")}
	paths, _ := filepath.Glob("../../../shared/data/tokenizers/*.gguf")
	for _, p := range paths {
		all[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(p), "ggml-vocab-"), ".gguf")] = tokenizerOf(t, p)
	}
	if len(paths) == 0 {
		t.Log("no published vocabularies here")
	}
	return all
}

// A draft that knows the text, in whatever vocabulary, makes the target's tokens of it.
func TestEveryVocabularyDraftsForEveryOther(t *testing.T) {
	all := fixtures(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for to, target := range all {
		for from, draft := range all {
			// Big vocabularies take a while to relate.
			if n := from + " for " + to; os.Getenv("OUTRIDER_VERIFY") == "" && from != "demo" && n != "llama-spm for gpt-2" && n != "gpt-2 for llama-spm" {
				continue
			}
			agreed, asked, strayed := 0, 0, 0
			for _, text := range texts(rng, 3) {
				m := &teller{tok: draft, text: []byte(text), context: 1 << 16, seqs: map[backend.Sequence][]Token{}}
				x := New(m, draft, target)
				log := target.Encode(text, tokenizer.Options{AddBOS: target.AddBOS()})
				const prompt = 20
				for n := prompt; n < len(log); n++ {
					seg := backend.Segment{Sequence: 1, Start: n - 1, Tokens: log[n-1 : n]}
					if n == prompt {
						seg = backend.Segment{Sequence: 1, Tokens: log[:n], From: n - 1, Setup: &backend.Setup{PromptLength: n}}
					}
					r, err := x.Forward(t.Context(), []backend.Segment{seg})
					if err != nil || r[0].Err != nil {
						t.Fatalf("%s for %s: %v %v", from, to, err, r[0].Err)
					}
					if asked++; r[0].Choices[0].Token == log[n] {
						agreed++
					}
				}
				if len(m.bad) > 0 {
					t.Fatalf("%s for %s: the draft was asked wrongly: %s", from, to, m.bad[0])
				}
				strayed += m.strayed
			}
			rate := float64(agreed) / float64(asked)
			const least = 0.9
			if t.Logf("%s drafts for %s: %s of %d", from, to, pct(rate), asked); rate < least {
				t.Errorf("%s drafts for %s: only %s (%d strayed)", from, to, pct(rate), strayed)
			}
		}
	}
}

func optionsOf(rng *rand.Rand) tokenizer.Options {
	return tokenizer.Options{ParseSpecial: rng.IntN(2) == 0}
}

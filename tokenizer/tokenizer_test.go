package tokenizer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
)

func demo(t testing.TB) *Tokenizer {
	t.Helper()
	b, _ := models.Embedded(models.TargetName)
	f, err := gguf.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func dataDir(t *testing.T) string {
	dir := os.Getenv("OUTRIDER_TEST_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no test data: tokenizer fixtures not checked")
	}
	return filepath.Join(dir, "tokenizers")
}

func TestFixtures(t *testing.T) {
	dir := dataDir(t)
	for _, name := range []string{"gpt-2", "falcon", "llama-spm", "phi-3", "qwen2"} {
		t.Run(name, func(t *testing.T) {
			base := filepath.Join(dir, "ggml-vocab-"+name+".gguf")
			var k *Tokenizer
			var err error
			if name == "qwen2" {
				k, err = FromHF(os.DirFS(filepath.Join(dir, "qwen2")), "qwen2")
				base = filepath.Join(dir, "qwen2", "ggml-vocab-qwen2.gguf")
			} else {
				var f *gguf.File
				if f, err = gguf.Open(base); err == nil {
					defer f.Close()
					k, err = FromGGUF(f)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			checkFixture(t, k, base)
		})
	}
}

func checkFixture(t *testing.T, k *Tokenizer, base string) {
	in, err := os.ReadFile(base + ".inp")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(base + ".out")
	if err != nil {
		t.Fatal(err)
	}
	texts := strings.Split(string(in), "\n__ggml_vocab_test__\n")
	lines := strings.Split(strings.TrimSuffix(string(want), "\n"), "\n")
	if len(lines) < len(texts)-1 || len(lines) == 0 {
		t.Fatalf("%d texts, %d lines of ids", len(texts), len(lines))
	}
	bad := 0
	for i, line := range lines {
		ids := k.Encode(texts[i], Options{})
		got := make([]string, len(ids))
		for j, id := range ids {
			got[j] = fmt.Sprint(id)
		}
		if w := strings.Fields(line); !slices.Equal(got, w) {
			t.Errorf("%q:\n got %v\nwant %v", texts[i], got, w)
			bad++
		}
		if back := k.Decode(ids); back != texts[i] {
			t.Errorf("decoded %q, want %q", back, texts[i])
		}
	}
	t.Logf("%d of %d texts exact", len(lines)-bad, len(lines))
}

func TestTextCannotForgeControlTokens(t *testing.T) {
	k := demo(t)
	text := "a<|endoftext|>b<|user|>"
	for _, id := range k.Encode(text, Options{}) {
		if k.IsControl(id) {
			t.Fatalf("text gave control token %q", k.Piece(id))
		}
	}
	ids := k.Encode(text, Options{ParseSpecial: true})
	if n := slices.IndexFunc(ids, k.IsControl); n < 0 || k.Piece(ids[n]) != "<|endoftext|>" {
		t.Fatalf("ParseSpecial did not find the token: %v", ids)
	}
	if got := k.Decode(ids); got != "ab" {
		t.Errorf("decoded %q", got)
	}
}

func TestStreamEqualsDecode(t *testing.T) {
	k := demo(t)
	text := "Zwölf Boxkämpfer 🥊 jagen \ufffd 猫 …"
	ids := k.Encode(text, Options{})
	var joined []byte
	for _, id := range ids {
		joined = append(joined, k.Bytes(id)...)
	}
	if string(joined) != text {
		t.Fatalf("bytes %q", joined)
	}
	if got, want := k.Decode(ids), string([]rune(text)); got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}

// A quadratic tokenizer would take minutes here.
func TestLongInputsAreLinear(t *testing.T) {
	chars := []string{"c:<bos>", "n:▁", "n:a", "n:aa", "n:aaaa", "n:b", "n:7", "n:\n", "n:\n\n", "n:▁▁", "n:🥊"}
	for name, k := range map[string]*Tokenizer{"byte-level": demo(t), "SentencePiece": spmModel(t),
		"characters": vocabulary(t, "gemma4", "", []string{"a a", "aa aa", "▁ ▁"}, chars...)} {
		for _, s := range []string{"a", " ", "ab", "\n", "🥊", "7", " a"} {
			begin := time.Now()
			text := strings.Repeat(s, 1<<20/len(s))
			if got := k.Decode(k.Encode(text, Options{})); got != text {
				t.Errorf("%s: 1 MB of %q does not come back", name, s)
			}
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("%s: 1 MB of %q took %v", name, s, d)
			}
		}
	}
}

func spmModel(t testing.TB) *Tokenizer {
	t.Helper()
	pieces := []string{"<unk>", "<s>", "</s>"}
	types := []int32{2, 3, 3}
	scores := []float32{0, 0, 0}
	for b := range 256 {
		pieces, types, scores = append(pieces, fmt.Sprintf("<0x%02X>", b)), append(types, 6), append(scores, 0)
	}
	for i, p := range []string{"▁", "h", "e", "l", "o", "he", "ll", "llo", "hello", "▁hello"} {
		pieces, types, scores = append(pieces, p), append(types, 1), append(scores, -10+float32(i))
	}
	var b bytes.Buffer
	err := gguf.Write(&b, []gguf.KV{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.tokens", Value: pieces},
		{Key: "tokenizer.ggml.token_type", Value: types}, {Key: "tokenizer.ggml.scores", Value: scores},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)}, {Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	k, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSentencePiece(t *testing.T) {
	k := spmModel(t)
	hello, _ := k.ID("▁hello")
	x, _ := k.ID("<0x78>")
	if got := k.Encode("hello hellox", Options{AddBOS: true}); !slices.Equal(got, []Token{1, hello, hello, x}) {
		t.Errorf("got %v", got)
	}
	for _, s := range []string{"hello", "hé 🥊 hello", " hello  hello"} {
		if got := k.Decode(k.Encode(s, Options{})); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	}
	if e := k.EndTokens(); !slices.Equal(e, []Token{2}) {
		t.Errorf("end tokens %v", e)
	}
}

func FuzzRoundTrip(f *testing.F) {
	bpe, spm := demo(f), spmModel(f)
	for _, s := range []string{"", "Hello, world", "  \n\t x", "\xff\xfe", "🥊🥊", "'s '\u017fT 12345"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, k := range []*Tokenizer{bpe, spm} {
			ids := k.Encode(s, Options{})
			var raw []byte
			for _, id := range ids {
				if id < 0 || int(id) >= k.Size() || k.IsControl(id) {
					t.Fatalf("token %d", id)
				}
				raw = append(raw, k.Bytes(id)...)
			}
			if k == spm && s != "" {
				raw = bytes.TrimPrefix(raw, []byte(" "))
			}
			want := s
			if k == bpe {
				want = normalize(s)
			}
			if string(raw) != want && !(k == spm && strings.Contains(s, spaceMark)) {
				t.Fatalf("%q came back as %q", want, raw)
			}
			for _, p := range ids {
				_ = k.Piece(p)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	k := demo(b)
	text := strings.Repeat("Once upon a time, there was a little girl named Lily. ", 1000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		k.Encode(text, Options{})
	}
}

//go:build verify

package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/gguf"
)

// Texts of a comparison.
const (
	textsPerVocabulary = 10000
	textsPerRule       = 500
)

func loadLibrary(t *testing.T) {
	t.Helper()
	dir := os.Getenv("YZMA_LIB")
	if dir == "" {
		t.Skip("no libllama: set YZMA_LIB to its folder")
	}
	if err := llama.Load(dir); err != nil {
		t.Fatal(err)
	}
	llama.LogSet(llama.LogSilent())
	llama.BackendInit()
}

// compare tokenizes fuzzed texts with libllama and with ours.
func compare(t *testing.T, file string, n int) {
	p := llama.ModelDefaultParams()
	p.VocabOnly = 1
	m, err := llama.ModelLoadFromFile(file, p)
	if err != nil {
		t.Fatalf("libllama does not load the vocabulary: %v", err)
	}
	defer llama.ModelFree(m)
	v := llama.ModelGetVocab(m)
	f, err := gguf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	var pieces []string
	for _, s := range k.special[:min(len(k.special), 40)] {
		pieces = append(pieces, k.Piece(s))
	}
	r, bad := rand.New(rand.NewPCG(5, 6)), 0
	for i := range n {
		text := fuzzText(r, pieces)
		o := Options{AddBOS: i%2 == 0 && k.AddBOS(), ParseSpecial: i%3 == 0}
		got := k.Encode(text, o)
		var want []Token
		for _, id := range llama.Tokenize(v, text, o.AddBOS, o.ParseSpecial) {
			want = append(want, Token(id))
		}
		if o.AddBOS && k.AddEOS() {
			want = want[:len(want)-1]
		}
		if !slices.Equal(got, want) {
			if bad++; bad <= 3 {
				t.Errorf("%q %+v\n got %v %q\nwant %v", text, o, got, k.Decode(got), want)
			}
		}
	}
	t.Logf("%d of %d texts give the same ids", n-bad, n)
}

func fuzzText(r *rand.Rand, pieces []string) string {
	text := scrapText(r)
	switch r.IntN(6) {
	case 0: // not UTF-8
		b := []byte(text)
		for range 1 + r.IntN(3) {
			b = slices.Insert(b, r.IntN(len(b)+1), byte(1+r.IntN(0xF3)))
		}
		return string(b)
	case 1: // any characters
		var b strings.Builder
		for range 1 + r.IntN(20) {
			b.WriteRune(rune(1 + r.IntN([]int{0x7F, 0x7FF, 0xD7FF, 0x1FFFF}[r.IntN(4)])))
		}
		return b.String()
	case 2:
		if len(pieces) > 0 {
			return text + pieces[r.IntN(len(pieces))] + scrapText(r)
		}
	}
	return text
}

func TestAgreesWithLibllama(t *testing.T) {
	loadLibrary(t)
	dir := dataDir(t)
	for _, name := range []string{"gpt-2", "falcon", "llama-spm", "phi-3"} {
		t.Run(name, func(t *testing.T) { compare(t, filepath.Join(dir, "ggml-vocab-"+name+".gguf"), textsPerVocabulary) })
	}
}

// The Qwen 2 fixture is a Hugging Face folder; libllama reads a GGUF made of it.
func TestQwenAgreesWithLibllama(t *testing.T) {
	loadLibrary(t)
	dir := filepath.Join(dataDir(t), "qwen2")
	k, err := FromHF(os.DirFS(dir), "qwen2")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "merges.txt"))
	if err != nil {
		t.Fatal(err)
	}
	merges := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return l == "" || strings.HasPrefix(l, "#version") })
	types := make([]int32, k.Size())
	for i, kind := range k.kinds {
		types[i] = int32(kind)
	}
	eos, _ := k.EOS()
	var b bytes.Buffer
	err = gguf.Write(&b, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "qwen2"},
		{Key: "tokenizer.ggml.tokens", Value: k.pieces}, {Key: "tokenizer.ggml.token_type", Value: types}, {Key: "tokenizer.ggml.merges", Value: merges},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(eos)}, {Key: "tokenizer.ggml.eos_token_id", Value: uint32(eos)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "qwen2.gguf")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	compare(t, file, textsPerVocabulary)
}

// Each pre-tokenizer, on a vocabulary that merges any two bytes: a word cut elsewhere shows.
func TestPreTokenizersAgreeWithLibllama(t *testing.T) {
	loadLibrary(t)
	for name := range preTokenizers {
		t.Run("pre="+name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "vocab.gguf")
			if err := os.WriteFile(file, pairVocabulary(t, name), 0o600); err != nil {
				t.Fatal(err)
			}
			compare(t, file, textsPerRule)
		})
	}
}

func pairVocabulary(t *testing.T, pre string) []byte {
	var pieces, merges []string
	var types []int32
	add := func(p string, kind int32) { pieces, types = append(pieces, p), append(types, kind) }
	model := "gpt2"
	if preTokenizers[pre].raw {
		chars := map[string]bool{spaceMark: true}
		for _, s := range scraps {
			for _, c := range s {
				if c != ' ' && c != 0xFFFD {
					chars[string(c)] = true
				}
			}
		}
		names := make([]string, 0, len(chars))
		for c := range chars {
			names = append(names, c)
		}
		slices.Sort(names)
		for i, c := range names {
			if i%7 != 0 {
				add(c, kindNormal)
			}
		}
		n := len(pieces)
		for i := range n {
			for j := range n {
				if pieces[i] != "\n" || pieces[j] != "\n" {
					add(pieces[i]+pieces[j], kindNormal)
					merges = append(merges, pieces[i]+" "+pieces[j])
				}
			}
		}
		add("\n\n", kindNormal)
		for b := range 256 {
			add("<0x"+strings.ToUpper(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15]))+">", kindByte)
		}
	} else {
		for b := range 256 {
			if b != 'Q' {
				add(string(byteRunes[b]), kindNormal)
			}
		}
		n := len(pieces)
		for i := range n {
			for j := range n {
				add(pieces[i]+pieces[j], kindNormal)
				merges = append(merges, pieces[i]+" "+pieces[j])
			}
		}
		add("hello", kindNormal)
		add("WORLD", kindNormal)
	}
	for _, p := range []string{"<|endoftext|>", "<s>", "<|user|>", "<|start|>x"} {
		add(p, kindControl)
	}
	add("<tool>", kindUser)
	add("<tool_more>", kindUser)
	bos := uint32(len(pieces) - 5)
	var b bytes.Buffer
	err := gguf.Write(&b, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "tokenizer.ggml.model", Value: model}, {Key: "tokenizer.ggml.pre", Value: pre},
		{Key: "tokenizer.ggml.tokens", Value: pieces}, {Key: "tokenizer.ggml.token_type", Value: types}, {Key: "tokenizer.ggml.merges", Value: merges},
		{Key: "tokenizer.ggml.bos_token_id", Value: bos}, {Key: "tokenizer.ggml.eos_token_id", Value: bos}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

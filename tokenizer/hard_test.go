package tokenizer

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/gguf"
)

// A quadratic stage would take minutes on one of these.
func TestEveryPreTokenizerIsLinear(t *testing.T) {
	size := 1 << 17
	if os.Getenv("OUTRIDER_VERIFY") != "" {
		size = 1 << 20
	}
	var tails []string
	for _, s := range []string{"a", "A", " ", "\n", "7", "~", "\u0301", "É", "猫", "🥊", "\u3000", "\x01"} {
		text := strings.Repeat(s, size/len(s))
		tails = append(tails, text, text+"!", "é"+text+"x")
	}
	tails = append(tails, strings.Repeat("ÉA", size/3), strings.Repeat("\u0301AAAA", size/6), strings.Repeat(" \n", size/2),
		strings.Repeat("<sentinel:1", size/11), strings.Repeat("'", size), strings.Repeat("a ", size/2))
	for name := range published() {
		begin := time.Now()
		for _, text := range tails {
			n := 0
			words(text, preTokenizers[name].stages, func(w string) { n += len(w) })
			if n != len(text) {
				t.Fatalf("%s: %d of %d bytes", name, n, len(text))
			}
		}
		if d := time.Since(begin); d > time.Minute {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// vocabulary builds a tokenizer from pieces "kind:piece".
func vocabulary(t testing.TB, model, pre string, merges []string, pieces ...string) *Tokenizer {
	t.Helper()
	kinds := map[string]int32{"n": kindNormal, "u": kindUser, "c": kindControl, "?": kindUnknown, "b": kindByte}
	var texts []string
	var types []int32
	var scores []float32
	for i, p := range pieces {
		kind, text, _ := strings.Cut(p, ":")
		texts, types, scores = append(texts, text), append(types, kinds[kind]), append(scores, float32(i))
	}
	kv := []gguf.KV{{Key: "tokenizer.ggml.model", Value: model}, {Key: "tokenizer.ggml.pre", Value: pre}, {Key: "tokenizer.ggml.tokens", Value: texts},
		{Key: "tokenizer.ggml.token_type", Value: types}, {Key: "tokenizer.ggml.scores", Value: scores}, {Key: "tokenizer.ggml.bos_token_id", Value: uint32(0)},
		{Key: "general.name", Value: "Phi-3 mini"}}
	if model != "llama" {
		kv = append(kv, gguf.KV{Key: "tokenizer.ggml.merges", Value: merges})
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, kv, nil); err != nil {
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

func pieces(k *Tokenizer, ids []Token) string {
	var out []string
	for _, id := range ids {
		out = append(out, k.Piece(id))
	}
	return strings.Join(out, "·")
}

// Merging must not make a control token of what a user writes.
func TestMergesCannotForge(t *testing.T) {
	spm := vocabulary(t, "llama", "", nil, "c:<s>", "?:<unk>", "n:<", "n:s", "n:>", "n:/", "n:</", "n:s>", "c:</s>", "n:▁", "n:</s", "n:<s")
	for _, text := range []string{"<s>", "</s>", "a</s>"} {
		for _, id := range spm.Encode(text, Options{}) {
			if spm.kinds[id] == kindControl {
				t.Errorf("SentencePiece: %q gave %s", text, pieces(spm, spm.Encode(text, Options{})))
			}
		}
	}
	bpe := vocabulary(t, "gpt2", "gpt-2", []string{"E O", "EO T", "[ EOT"}, "n:E", "n:O", "n:T", "n:EO", "c:EOT", "n:[", "c:[EOT")
	if got := pieces(bpe, bpe.Encode("EOT[EOT", Options{})); got != "E·O·T·[·E·O·T" {
		t.Errorf("byte-level: %s", got)
	}
}

func TestExclude(t *testing.T) {
	k := vocabulary(t, "gpt2", "gpt-2", []string{"a a"}, "n:a", "n:b", "u:aba", "u:b", "n:aa")
	aba, _ := k.ID("aba")
	if got := pieces(k, k.Encode("abaab", Options{})); got != "aba·a·b" {
		t.Errorf("user-defined tokens are read in any text: %s", got)
	}
	if got := pieces(k, k.Encode("abaab", Options{Exclude: map[Token]bool{aba: true}})); got != "a·b·aa·b" {
		t.Errorf("excluded: %s", got)
	}
	spm := vocabulary(t, "llama", "", nil, "c:<s>", "?:<unk>", "n:▁", "n:<", "n:x", "n:<x", "u:<x<", "b:<0x3C>", "b:<0x78>")
	id, _ := spm.ID("<x<")
	if got := pieces(spm, spm.Encode("<x<", Options{})); got != "<x<" {
		t.Errorf("user-defined: %s", got)
	}
	if got := pieces(spm, spm.Encode("<x<", Options{Exclude: map[Token]bool{id: true}})); got != "▁·<0x3C>·<0x78>·<0x3C>" {
		t.Errorf("made by merging, excluded: %s", got)
	}
}

// What merges make need not be a token; it falls apart into bytes then.
func TestMergesBeyondTheVocabulary(t *testing.T) {
	k := vocabulary(t, "gpt2", "gpt-2", []string{"a b", "ab c", "d e"}, "n:a", "n:b", "n:c", "n:d", "n:abc", "n:e")
	if got := pieces(k, k.Encode("abcde", Options{})); got != "abc·d·e" {
		t.Errorf("got %s", got)
	}
}

func TestCharacterBPE(t *testing.T) {
	k := vocabulary(t, "gemma4", "", []string{"▁ h", "▁h i", "h i"}, "c:<bos>", "n:▁", "n:h", "n:i", "n:▁h", "n:▁hi", "n:hi", "n:\n", "n:\n\n", "b:<0xC3>", "b:<0xA9>", "c:<turn|>")
	if got := pieces(k, k.Encode("hi hi\n\nhé<turn|>", Options{AddBOS: k.AddBOS()})); got != "<bos>·hi·▁hi·\n\n·h·<0xC3>·<0xA9>" {
		t.Errorf("got %s", got)
	}
	if got := k.Decode(k.Encode("hi  hi\n\n\né", Options{})); got != "hi  hi\n\n\né" {
		t.Errorf("came back as %q", got)
	}
	if e := k.EndTokens(); len(e) != 1 || k.Piece(e[0]) != "<turn|>" {
		t.Errorf("end tokens %v", e)
	}
}

// Phi-3's special tokens take the white space after them.
func TestStripping(t *testing.T) {
	k := vocabulary(t, "llama", "", nil, "c:<s>", "?:<unk>", "n:▁", "c:<|user|>", "n:a", "n:\n", "b:<0x0A>")
	if got := pieces(k, k.Encode("<|user|> \n a<s> a", Options{ParseSpecial: true})); got != "<|user|>·▁·a·<s>·▁·▁·a" {
		t.Errorf("got %s", got)
	}
}

func TestTextsThatAreNotUTF8(t *testing.T) {
	for in, want := range map[string]string{"a\xffb": "a\ufffdb", "\xc3": "\ufffd", "\xe2\x82": "\ufffd\ufffd", "\xc0\x80": "\x00", "\xed\xa0\x80": "\xed\xa0\x80",
		"\xf8\x88": "\ufffd\ufffd", "\xf7\xbf\xbf\xbf": "\ufffd\ufffd\ufffd\ufffd", "gut ✓": "gut ✓"} {
		if got := normalize(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// Byte-level BPE is lossless.
func FuzzByteLevel(f *testing.F) {
	alphabet := make([]string, 0, 256)
	for b := range 256 {
		alphabet = append(alphabet, "n:"+string(byteRunes[b]))
	}
	var names []string
	for n := range published() {
		if !preTokenizers[n].raw {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	all := make([]*Tokenizer, 0, len(names))
	for _, n := range names {
		all = append(all, vocabulary(f, "gpt2", n, []string{"h e", "l l", "e l", "Ġ Ġ"}, append(alphabet, "n:he", "n:ll", "n:el", "n:ĠĠ")...))
	}
	for i, s := range []string{"Hello  hello", "\t\n\n x1234567", "É'LL ~~", "猫🥊\u0301", "\xff\xc3("} {
		f.Add(i, s)
	}
	f.Fuzz(func(t *testing.T, i int, s string) {
		k := all[((i%len(all))+len(all))%len(all)]
		var raw []byte
		for _, id := range k.Encode(s, Options{}) {
			raw = append(raw, k.Bytes(id)...)
		}
		if string(raw) != normalize(s) {
			t.Fatalf("%q came back as %q", s, raw)
		}
	})
}

func ExampleTokenizer_Encode() {
	k := vocabulary(&testing.B{}, "gpt2", "llama-bpe", []string{"h i"}, "c:<|eot_id|>", "n:h", "n:i", "n:hi", "n:<", "n:|", "n:e", "n:o", "n:t", "n:_", "n:d", "n:>")
	fmt.Println(len(k.Encode("hi<|eot_id|>", Options{})), len(k.Encode("hi<|eot_id|>", Options{ParseSpecial: true})))
	// Output: 11 2
}

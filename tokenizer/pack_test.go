package tokenizer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
)

// file makes a GGUF file in memory.
func file(t testing.TB, kvs ...gguf.KV) *gguf.File {
	t.Helper()
	var b bytes.Buffer
	if err := gguf.Write(&b, kvs, nil); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPack(t *testing.T) {
	b, _ := models.Embedded(models.TargetName)
	f, err := gguf.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	samePacked(t, "demo", f)
	t.Run("fixtures", func(t *testing.T) {
		dir := dataDir(t)
		for _, name := range []string{"gpt-2", "falcon", "llama-spm", "phi-3"} {
			f, err := gguf.Open(filepath.Join(dir, "ggml-vocab-"+name+".gguf"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			samePacked(t, name, f)
		}
	})
}

// samePacked checks that a tokenizer is the same after packing.
func samePacked(t *testing.T, name string, f *gguf.File) {
	t.Helper()
	k, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Pack(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Pack(f)
	if err != nil || again.Digest != p.Digest || !bytes.Equal(again.Data, p.Data) {
		t.Errorf("%s: packing twice gives two digests", name)
	}
	raw, u, err := Unpack(p.Data, p.Digest)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d tokens, %d bytes, %d compressed", name, u.Size(), len(raw), len(p.Data))
	if u.Fingerprint() != k.Fingerprint() || p.Vocabulary != k.Fingerprint() || u.ChatTemplate() != k.ChatTemplate() ||
		!slices.Equal(u.EndTokens(), k.EndTokens()) || u.AddBOS() != k.AddBOS() || u.AddEOS() != k.AddEOS() || len(raw) != p.Size {
		t.Errorf("%s: the unpacked tokenizer is another one", name)
	}
	for _, text := range []string{"Once upon a time", " ünï 🙂\n\n\t 1234567  x", "<|user|>hi</s>"} {
		for _, o := range []Options{{}, {AddBOS: true, ParseSpecial: true}} {
			if a, b := k.Encode(text, o), u.Encode(text, o); !slices.Equal(a, b) {
				t.Errorf("%s: %q is %v, unpacked %v", name, text, a, b)
			}
		}
	}
}

func zipped(raw []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = w.Write(raw)
	_ = w.Close()
	return b.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	b, _ := models.Embedded(models.TargetName)
	f, err := gguf.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Pack(f)
	if err != nil {
		t.Fatal(err)
	}
	bomb := make([]byte, MaxUnpacked+1)
	nothing := []byte("GGUF nothing")
	for name, c := range map[string]struct {
		data   []byte
		digest [32]byte
	}{
		"empty":          {nil, p.Digest},
		"not gzip":       {[]byte("hello"), p.Digest},
		"truncated":      {p.Data[:len(p.Data)/2], p.Digest},
		"wrong digest":   {p.Data, sha256.Sum256(nil)},
		"bomb":           {zipped(bomb), sha256.Sum256(bomb)},
		"too large":      {make([]byte, MaxPacked+1), p.Digest},
		"not a GGUF":     {zipped(nothing), sha256.Sum256(nothing)},
		"flipped":        {flip(p.Data), p.Digest},
		"no vocabulary":  hostile(t, gguf.KV{Key: "tokenizer.ggml.model", Value: "gpt2"}),
		"unknown model":  hostile(t, gguf.KV{Key: "tokenizer.ggml.model", Value: "x"}, gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{"a"}}),
		"too many":       hostile(t, gguf.KV{Key: "tokenizer.ggml.model", Value: "llama"}, gguf.KV{Key: "tokenizer.ggml.tokens", Value: make([]string, maxTokens+1)}),
		"template alone": hostile(t, gguf.KV{Key: "tokenizer.chat_template", Value: "x"}),
	} {
		if _, _, err := Unpack(c.data, c.digest); !errors.Is(err, ErrPacked) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func flip(data []byte) []byte {
	d := slices.Clone(data)
	d[len(d)/2] ^= 1
	return d
}

func hostile(t *testing.T, kvs ...gguf.KV) (c struct {
	data   []byte
	digest [32]byte
}) {
	var b bytes.Buffer
	if err := gguf.Write(&b, kvs, nil); err != nil {
		t.Fatal(err)
	}
	c.data, c.digest = zipped(b.Bytes()), sha256.Sum256(b.Bytes())
	return c
}

// padded makes a vocabulary with rows at its end that only pad it.
func padded(t *testing.T, model string, pads int, kind int32, pieces ...string) *Tokenizer {
	kinds, scores := make([]int32, len(pieces)), make([]float32, len(pieces)+pads)
	for i := range kinds {
		kinds[i], scores[i] = kindNormal, -float32(i)
	}
	for range pads {
		pieces, kinds = append(pieces, fmt.Sprintf("[PAD%d]", len(pieces))), append(kinds, kind)
		scores[len(pieces)-1] = -1000
	}
	k, err := FromGGUF(file(t, gguf.KV{Key: "tokenizer.ggml.model", Value: model}, gguf.KV{Key: "tokenizer.ggml.pre", Value: "gpt-2"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: pieces}, gguf.KV{Key: "tokenizer.ggml.token_type", Value: kinds},
		gguf.KV{Key: "tokenizer.ggml.scores", Value: scores}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPadRowsDoNotCount(t *testing.T) {
	for _, model := range []string{"gpt2", "llama"} {
		bare := padded(t, model, 0, 0, "<unk>", "a", "b", "c")
		for _, k := range []*Tokenizer{padded(t, model, 3, kindUnused, "<unk>", "a", "b", "c"), padded(t, model, 9, kindUser, "<unk>", "a", "b", "c")} {
			if k.Fingerprint() != bare.Fingerprint() || k.Size() == bare.Size() {
				t.Errorf("%s: pad rows change the fingerprint", model)
			}
			if err := errors.Join(Fits(k, bare), Fits(bare, k)); err != nil {
				t.Error(err)
			}
		}
		other := padded(t, model, 3, kindUnused, "<unk>", "a", "b", "d")
		more := padded(t, model, 3, kindUnused, "<unk>", "a", "b", "c", "d")
		for _, k := range []*Tokenizer{other, more} {
			if k.Fingerprint() == bare.Fingerprint() {
				t.Errorf("%s: another vocabulary has the same fingerprint", model)
			}
		}
		if Fits(other, bare) == nil || Fits(more, bare) == nil {
			t.Errorf("%s: a draft with other tokens fits", model)
		}
		if err := Fits(bare, more); err != nil { // the draft knows more: harmless
			t.Error(err)
		}
		// A pad name elsewhere is a token like others.
		if k := padded(t, model, 0, 0, "<unk>", "a", "b", "c", "[PAD7]"); k.Fingerprint() == bare.Fingerprint() {
			t.Errorf("%s: [PAD7] at 4 is no padding", model)
		}
	}
	if Fits(padded(t, "gpt2", 0, 0, "a"), padded(t, "llama", 0, 0, "a")) == nil {
		t.Error("tokens of another kind fit")
	}
}

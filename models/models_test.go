package models

import (
	"bytes"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/tokenizer"
)

const maxBytes = 24 << 20 // both files together: they live in the repository and in the binary

func open(t *testing.T, name string) (*gguf.File, *tokenizer.Tokenizer) {
	t.Helper()
	data, ok := Embedded(name)
	if !ok {
		t.Fatalf("%s is not embedded", name)
	}
	f, err := gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f, tok
}

func TestPairIsOnePair(t *testing.T) {
	tf, tt := open(t, TargetName)
	df, dt := open(t, DraftName)
	if tt.Fingerprint() != dt.Fingerprint() {
		t.Errorf("fingerprints differ: target %s, draft %s", tt.Fingerprint(), dt.Fingerprint())
	}
	a, _ := tf.Uint("llama.context_length")
	b, _ := df.Uint("llama.context_length")
	if a != b || a != 512 {
		t.Errorf("context: target %d, draft %d, want 512", a, b)
	}
	if n := len(target) + len(draft); n > maxBytes {
		t.Errorf("the pair has %d bytes, more than %d", n, maxBytes)
	}
	if p, q := parameters(tf), parameters(df); q*3 > p {
		t.Errorf("draft has %d parameters, target %d: a draft should be much smaller", q, p)
	}
}

func parameters(f *gguf.File) (n uint64) {
	for _, x := range f.Tensors() {
		n += x.Elements()
	}
	return n
}

func TestEachModel(t *testing.T) {
	for _, name := range []string{TargetName, DraftName} {
		t.Run(name, func(t *testing.T) {
			f, tok := open(t, name)
			if s, _ := f.String("general.name"); s != name {
				t.Errorf("general.name is %q", s)
			}
			if s, _ := f.String("general.architecture"); s != "llama" {
				t.Errorf("architecture is %q", s)
			}
			for _, x := range f.Tensors() {
				data, err := f.ReadTensor(x)
				if err != nil || uint64(len(data)) != x.Size() {
					t.Errorf("%s: %d of %d bytes, %v", x.Name, len(data), x.Size(), err)
				}
			}
			checkMarkers(t, tok)
		})
	}
}

// checkMarkers looks at what chat and the end of a generation rest on.
func checkMarkers(t *testing.T, tok *tokenizer.Tokenizer) {
	t.Helper()
	for _, m := range []string{"<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"} {
		id, ok := tok.ID(m)
		if !ok || !tok.IsControl(id) {
			t.Errorf("%s: known %v, control token %v", m, ok, ok && tok.IsControl(id))
		}
		if !strings.Contains(tok.ChatTemplate(), m) && m != "<|endoftext|>" {
			t.Errorf("the chat template does not use %s", m)
		}
		for _, k := range tok.Encode(m, tokenizer.Options{}) {
			if k == id {
				t.Errorf("plain text forges %s", m)
			}
		}
	}
	text, _ := tok.ID("<|endoftext|>")
	end, _ := tok.ID("<|end|>")
	if bos, ok := tok.BOS(); !ok || bos != text || !tok.AddBOS() {
		t.Errorf("BOS is %d (%v), added %v; want <|endoftext|> added", bos, ok, tok.AddBOS())
	}
	ends := map[tokenizer.Token]bool{}
	for _, k := range tok.EndTokens() {
		ends[k] = true
	}
	if !ends[text] || !ends[end] {
		t.Errorf("end tokens %v, want %d and %d among them", tok.EndTokens(), text, end)
	}
	const story = "Once upon a time, Lily said: \"It's 7 o'clock!\" ünï 🌊\n"
	if got := tok.Decode(tok.Encode(story, tokenizer.Options{})); got != story {
		t.Errorf("round trip gives %q", got)
	}
}

func TestUnknownName(t *testing.T) {
	if _, ok := Embedded("outrider-demo"); ok {
		t.Error("an unknown name gives a model")
	}
}

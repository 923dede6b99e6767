package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/outrider-llm/outrider/gguf"
)

// FuzzFromHF: the files of a Hugging Face folder are refused, or make a tokenizer that keeps any text.
func FuzzFromHF(f *testing.F) {
	f.Add(`{"a":0,"b":1,"ab":2,"Ġ":3}`, "#version: 0.2\na b\n", `{"added_tokens_decoder":{"4":{"content":"<|end|>","special":true}},"eos_token":"<|end|>"}`, "ab <|end|>")
	f.Add(`{"a":-1}`, "", `{}`, "a")
	f.Add(`{"a":2147483647}`, "a a", `null`, "a")
	f.Add(`{}`, "\n\n", `{"added_tokens_decoder":{"0":{}}}`, "")
	f.Fuzz(func(t *testing.T, vocab, merges, config, text string) {
		k, err := FromHF(fstest.MapFS{"vocab.json": {Data: []byte(vocab)}, "merges.txt": {Data: []byte(merges)}, "tokenizer_config.json": {Data: []byte(config)}}, "gpt-2")
		if err != nil {
			return
		}
		checkHostile(t, k, text)
	})
}

// checkHostile puts a text into tokens and back with a tokenizer that a stranger made.
func checkHostile(t *testing.T, k *Tokenizer, text string) {
	_ = k.Fingerprint()
	for _, id := range k.Encode(text, Options{}) {
		if id < 0 || int(id) >= k.Size() {
			t.Fatalf("token %d of %d", id, k.Size())
		}
		_ = k.Bytes(id)
	}
	for _, id := range k.EndTokens() {
		if id < 0 || int(id) >= k.Size() {
			t.Fatalf("end token %d of %d", id, k.Size())
		}
	}
}

// FuzzParsePacked: a tokenizer that a cloud sends is refused with ErrPacked or can be used, however its GGUF file is made.
func FuzzParsePacked(f *testing.F) {
	for _, kvs := range [][]gguf.KV{
		{{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.tokens", Value: []string{"a", "b", "ab"}}, {Key: "tokenizer.ggml.merges", Value: []string{"a b"}},
			{Key: "tokenizer.ggml.token_type", Value: []int32{1, 1, 1}}, {Key: "tokenizer.ggml.eos_token_id", Value: uint64(2)}},
		{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.tokens", Value: []string{"<unk>", "<0x41>", "▁a"}}, {Key: "tokenizer.ggml.scores", Value: []float32{0, -1, -2}},
			{Key: "tokenizer.ggml.token_type", Value: []int32{2, 6, 1}}},
	} {
		var b bytes.Buffer
		if err := gguf.Write(&b, kvs, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), "ab a")
	}
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		k, err := Parse(raw, sha256.Sum256(raw))
		if err != nil {
			if !errors.Is(err, ErrPacked) {
				t.Fatal(err)
			}
			return
		}
		checkHostile(t, k, text)
		var other [32]byte
		if _, _, err := Unpack(raw, other); !errors.Is(err, ErrPacked) {
			t.Fatalf("what is not compressed was unpacked: %v", err)
		}
	})
}

package tokenizer

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/outrider-llm/outrider/gguf"
)

// TestFingerprintIgnoresPadding: Qwen 2.5 has 151,936 rows in 0.5B and 152,064 in 7B, and one vocabulary.
func TestFingerprintIgnoresPadding(t *testing.T) {
	padded := func(n int, kind int32, tokens ...string) string {
		types := make([]int32, 0, n)
		for range tokens {
			types = append(types, kindNormal)
		}
		for i := range n {
			tokens, types = append(tokens, fmt.Sprintf("[PAD%d]", i)), append(types, kind)
		}
		var b bytes.Buffer
		err := gguf.Write(&b, []gguf.KV{{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "qwen2"},
			{Key: "tokenizer.ggml.tokens", Value: tokens}, {Key: "tokenizer.ggml.token_type", Value: types},
			{Key: "tokenizer.ggml.merges", Value: []string{"a b"}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := gguf.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := FromGGUF(f)
		if err != nil {
			t.Fatal(err)
		}
		return tok.Fingerprint()
	}
	plain := padded(0, 0, "a", "b", "ab")
	if padded(7, kindUnused, "a", "b", "ab") != plain || padded(90, kindUnused, "a", "b", "ab") != plain {
		t.Error("padding changes the fingerprint")
	}
	if padded(7, kindNormal, "a", "b", "ab") == plain || padded(7, kindUnused, "a", "b", "ba") == plain {
		t.Error("tokens do not change the fingerprint")
	}
}

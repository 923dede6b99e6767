package reference

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
)

func TestLoadErrorsAreOneHelpfulLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	draft, _ := models.Embedded(models.DraftName)
	change := func(f func(*synth)) string {
		s := newSynth(1)
		f(s)
		return s.file(t)
	}
	set := func(key string, v any) string { return change(func(s *synth) { s.kv[key] = v }) }
	shape := func(name string, dims ...uint64) string {
		return change(func(s *synth) {
			d := gguf.Data{Tensor: gguf.Tensor{Name: name, Dims: dims}}
			d.Raw = make([]byte, d.Size())
			s.tensors[name] = d
		})
	}
	for _, tc := range []struct {
		name, path, want string
		opts             map[string]string
	}{
		{"missing file", filepath.Join(dir, "none.gguf"), "outrider-demo-target", nil},
		{"a directory", dir, "directory", nil},
		{"empty", write("empty.gguf", nil), "empty", nil},
		{"wrong magic", write("magic.gguf", []byte("PK\x03\x04 something else")), "instead of \"GGUF\"", nil},
		{"truncated header", write("short.gguf", draft[:1000]), "truncated", nil},
		{"truncated data", write("cut.gguf", draft[:len(draft)-1000]), "truncated", nil},
		{"wrong architecture", set("general.architecture", "mamba"), "mamba", nil},
		{"no architecture", change(func(s *synth) { delete(s.kv, "general.architecture") }), "general.architecture", nil},
		{"no context", change(func(s *synth) { delete(s.kv, "llama.context_length") }), "context_length", nil},
		{"zero layers", set("llama.block_count", uint32(0)), "block_count", nil},
		{"absurd layers", set("llama.block_count", uint32(1<<31)), "block_count", nil},
		{"more layers than tensors", set("llama.block_count", uint32(4)), "blk.3.attn_norm.weight is missing", nil},
		{"absurd width", set("llama.embedding_length", uint32(1<<30)), "embedding_length", nil},
		{"heads do not divide", set("llama.attention.head_count_kv", uint32(4)), "share", nil},
		{"odd rotation", set("llama.rope.dimension_count", uint32(5)), "rope.dimension_count", nil},
		{"unknown rope scaling", set("llama.rope.scaling.type", "yarn"), "yarn", nil},
		{"experts", set("llama.expert_count", uint32(8)), "mixture", nil},
		{"unknown tokenizer", set("tokenizer.ggml.model", "bert"), "bert", nil},
		{"a tensor is missing", change(func(s *synth) { delete(s.tensors, "blk.1.ffn_up.weight") }), "blk.1.ffn_up.weight", nil},
		{"a matrix is too small", shape("blk.1.attn_k.weight", 44, 10), "blk.1.attn_k.weight", nil},
		{"a matrix is a vector", shape("blk.0.ffn_down.weight", 44), "blk.0.ffn_down.weight", nil},
		{"a vector is too long", shape("output_norm.weight", 45), "output_norm.weight", nil},
		{"vocabulary larger than the embedding", change(func(s *synth) {
			d := s.tensors["token_embd.weight"]
			d.Dims, d.Raw = []uint64{44, 60}, d.Raw[:44*60*4]
			s.tensors["token_embd.weight"] = d
			delete(s.tensors, "output.weight")
		}), "61 tokens", nil},
		{"heads larger than any model's", set("llama.attention.key_length", uint32(1<<20)), "heads of", nil},
		{"zero rotation factor", shape("rope_freqs.weight", 3), "zero", nil},
		{"unsupported quantisation", change(func(s *synth) {
			d := s.tensors["output_norm.weight"]
			d.Type = gguf.I32
			s.tensors["output_norm.weight"] = d
		}), "Q6_K", nil},
		{"unknown option", models.DraftName, "kv_tokens", map[string]string{"thread": "1"}},
		{"no number", models.DraftName, "threads", map[string]string{"threads": "many"}},
		{"no threads", models.DraftName, "from 1", map[string]string{"threads": "0"}},
		{"context beyond the model's", models.DraftName, "512", map[string]string{"context": "513"}},
		{"unknown packing", models.DraftName, "packed", map[string]string{"weights": "f64"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := Load(t.Context(), tc.path, tc.opts, nil)
			if m != nil || !errors.Is(err, backend.ErrLoad) {
				t.Fatalf("%v, %v", m, err)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("the error should be one line about %q: %v", tc.want, err)
			}
			t.Log(err)
		})
	}
}

func TestInfo(t *testing.T) {
	var last float32
	m, err := Load(t.Context(), models.TargetName, map[string]string{"sequences": "3", "context": "100"}, func(p float32) {
		if p < last {
			t.Errorf("progress fell from %g to %g", last, p)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.(*Engine).Close()
	tok, i := tokens(t, models.TargetName), m.Info()
	t.Logf("%+v", i)
	if last != 1 || i.Engine != "reference" || i.ContextLength != 100 || i.Sequences != 3 || i.KVTokens < 300 || !i.Trees || !i.Constraints ||
		i.VocabularySize != tok.Size() || i.Vocabulary != tok.Fingerprint() || len(i.EndTokens) == 0 || i.Parameters == 0 ||
		!strings.Contains(i.Numerics, "q8_0") {
		t.Fatalf("progress %g, %+v", last, i)
	}
}

func TestLoadIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Load(ctx, models.TargetName, nil, func(float32) { cancel() })
	if m != nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", m, err)
	}
}

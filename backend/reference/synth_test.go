package reference

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/outrider-llm/outrider/gguf"
)

// synth describes a small random model with awkward sizes: no dimension is a multiple of the
// vector width, heads are shared, part of a head is not rotated, the vocabulary is padded.
type synth struct {
	kv      map[string]any
	tensors map[string]gguf.Data
}

func newSynth(seed uint64) *synth {
	const dim, ff, heads, kvHeads, headDim, layers, vocab = 44, 37, 6, 2, 10, 3, 61
	s := &synth{kv: map[string]any{
		"general.architecture": "llama", "llama.context_length": uint32(48), "llama.embedding_length": uint32(dim),
		"llama.block_count": uint32(layers), "llama.attention.head_count": uint32(heads),
		"llama.attention.head_count_kv": uint32(kvHeads), "llama.attention.key_length": uint32(headDim),
		"llama.attention.value_length": uint32(headDim), "llama.rope.dimension_count": uint32(6),
		"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(2),
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.eos_token_id": uint32(2), "tokenizer.ggml.bos_token_id": uint32(1),
	}, tensors: map[string]gguf.Data{}}
	pieces, scores, kinds := make([]string, vocab), make([]float32, vocab), make([]int32, vocab)
	for i := range pieces {
		pieces[i], scores[i], kinds[i] = fmt.Sprintf("t%d", i), float32(-i), 1
	}
	pieces[0], pieces[1], pieces[2] = "<unk>", "<s>", "</s>"
	kinds[0], kinds[1], kinds[2] = 2, 3, 3
	s.kv["tokenizer.ggml.tokens"], s.kv["tokenizer.ggml.scores"], s.kv["tokenizer.ggml.token_type"] = pieces, scores, kinds
	rng := rand.New(rand.NewPCG(seed, 1))
	add := func(name string, scale float64, dims ...uint64) {
		t := gguf.Data{Tensor: gguf.Tensor{Name: name, Type: gguf.F32, Dims: dims}}
		for range t.Elements() {
			v := float32(rng.NormFloat64() * scale)
			if scale == 0 { // norms and factors lie about 1
				v = float32(1 + 0.2*rng.Float64())
			}
			t.Raw = binary.LittleEndian.AppendUint32(t.Raw, math.Float32bits(v))
		}
		s.tensors[name] = t
	}
	add("token_embd.weight", 1, dim, vocab+3)
	add("output.weight", 0.5, dim, vocab+3)
	add("output_norm.weight", 0, dim)
	add("rope_freqs.weight", 0, 3)
	for l := range layers {
		p := fmt.Sprintf("blk.%d.", l)
		add(p+"attn_norm.weight", 0, dim)
		add(p+"ffn_norm.weight", 0, dim)
		add(p+"attn_q.weight", 0.2, dim, heads*headDim)
		add(p+"attn_q.bias", 0.2, heads*headDim)
		add(p+"attn_k.weight", 0.2, dim, kvHeads*headDim)
		add(p+"attn_v.weight", 0.2, dim, kvHeads*headDim)
		add(p+"attn_output.weight", 0.2, heads*headDim, dim)
		add(p+"ffn_gate.weight", 0.2, dim, ff)
		add(p+"ffn_up.weight", 0.2, dim, ff)
		add(p+"ffn_down.weight", 0.2, ff, dim)
	}
	return s
}

// file writes the model and returns its path.
func (s *synth) file(t testing.TB) string {
	t.Helper()
	var kvs []gguf.KV
	for k, v := range s.kv {
		kvs = append(kvs, gguf.KV{Key: k, Value: v})
	}
	var tensors []gguf.Data
	for _, d := range s.tensors {
		tensors = append(tensors, d)
	}
	slices.SortFunc(tensors, func(a, b gguf.Data) int { return cmpString(a.Name, b.Name) })
	p := filepath.Join(t.TempDir(), "synth.gguf")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := gguf.Write(f, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

package engines

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/outrider-llm/outrider/gguf"
)

// headWidth of a widened model, and how much wider than the model its feed-forward layers are, in eighths.
const (
	headWidth    = 64
	feedForward8 = 22
)

// Widen writes a Llama model of so many layers and such a width, of random weights in Q8_0 and with the
// tokenizer of f: it takes the time of a model of that size and says nothing. Width is a multiple of 64.
func Widen(f *gguf.File, path string, layers, width int) error {
	if layers < 1 || layers > 256 || width < headWidth || width > 16384 || width%headWidth != 0 {
		return fmt.Errorf("%d layers of width %d: 1 to 256 layers and a width of 64 to 16384, a multiple of 64, are possible", layers, width)
	}
	inner := (width*feedForward8/8 + 255) / 256 * 256
	set := map[string]uint32{"block_count": uint32(layers), "embedding_length": uint32(width), "feed_forward_length": uint32(inner),
		"attention.head_count": uint32(width / headWidth), "attention.head_count_kv": uint32(width / headWidth), "rope.dimension_count": headWidth}
	var kvs []gguf.KV
	for _, key := range f.Keys() {
		kv, err := metadata(f, key)
		if err != nil {
			return err
		}
		if v, ok := set[strings.TrimPrefix(key, "llama.")]; ok {
			kv.Value = v
		}
		if key == "general.name" {
			kv.Value = fmt.Sprintf("random, %d layers of %d", layers, width)
		}
		kvs = append(kvs, kv)
	}
	words, ok := f.Strings("tokenizer.ggml.tokens")
	if !ok {
		return errors.New("the model has no vocabulary")
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(gguf.Write(out, kvs, randomTensors(layers, width, inner, len(words))), out.Close())
}

func randomTensors(layers, width, inner, words int) (out []gguf.Data) {
	rng := rand.New(rand.NewPCG(1, uint64(width)))
	matrix := func(name string, columns, rows int) {
		t := gguf.Tensor{Name: name, Type: gguf.Q8_0, Dims: []uint64{uint64(columns), uint64(rows)}}
		raw := make([]byte, t.Size())
		for b := raw; len(b) >= 34; b = b[34:] { // blocks of 32 numbers behind their scale
			binary.LittleEndian.PutUint16(b, half(0.0005))
			for i := 2; i < 34; i += 8 {
				binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
			}
		}
		out = append(out, gguf.Data{Tensor: t, Raw: raw})
	}
	ones := func(name string) {
		t := gguf.Tensor{Name: name, Type: gguf.F32, Dims: []uint64{uint64(width)}}
		v := make([]float32, width)
		for i := range v {
			v[i] = 1
		}
		out = append(out, gguf.Data{Tensor: t, Raw: encode(v, gguf.F32)})
	}
	matrix("token_embd.weight", width, words)
	ones("output_norm.weight")
	for l := range layers {
		name := func(part string) string { return fmt.Sprintf("blk.%d.%s.weight", l, part) }
		ones(name("attn_norm"))
		for _, part := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			matrix(name(part), width, width)
		}
		ones(name("ffn_norm"))
		matrix(name("ffn_gate"), width, inner)
		matrix(name("ffn_up"), width, inner)
		matrix(name("ffn_down"), inner, width)
	}
	return out
}

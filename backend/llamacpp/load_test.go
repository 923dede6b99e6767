//go:build verify

package llamacpp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp/library"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

func TestOptionErrors(t *testing.T) {
	for _, tc := range [][2]string{{"threads", "0"}, {"threads", "many"}, {"sequences", "193"}, {"kv_type_k", "q3_x"}, {"flash_attention", "yes"},
		{"gpu_layers", "-1"}, {"tensor_split", "1,x"}, {"tensor_split", "0,0"}, {"tensor_split", "NaN"}, {"main_gpu", "-1"}, {"colour", "red"}} {
		_, err := parseOptions(map[string]string{tc[0]: tc[1]})
		if err == nil || !strings.Contains(err.Error(), tc[0]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", tc, err)
		}
	}
	o, err := parseOptions(map[string]string{"gpu_layers": "all", "tensor_split": "3, 1", "kv_type_v": "Q8_0", "flash_attention": "on", "main_gpu": "1"})
	if err != nil || o.gpuLayers != -1 || !slices.Equal(o.split, []float32{3, 1}) || o.typeV != llama.GGMLTypeQ8_0 || o.mainGPU != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestLayoutOfAnotherVersionIsRefused(t *testing.T) {
	libraries(t)
	engine(t, small) // opens the library
	m, c := llama.ModelDefaultParams(), llama.ContextDefaultParams()
	if err := checkLayout(m, c); err != nil {
		t.Fatal(err)
	}
	shifted := c
	shifted.NThreads, shifted.NThreadsBatch, shifted.RopeScalingType = 0, 4, 4 // as if a field were missing
	if checkLayout(m, shifted) == nil {
		t.Fatal("a shifted structure passes")
	}
	m.UseExtraBufts = 7
	if checkLayout(m, c) == nil {
		t.Fatal("a boolean of 7 passes")
	}
}

func TestFilesOfEmbeddedModels(t *testing.T) {
	want, _ := models.Embedded(small)
	for name, make := range map[string]func(string, []byte) (string, func(), error){"memory": memoryFile, "temporary": temporaryFile} {
		path, remove, err := make(small, want)
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
		for range 2 { // Close does it again
			remove()
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: %s is still there", name, path)
		}
	}
}

func TestDefaultThreads(t *testing.T) {
	for _, tc := range []struct {
		weights uint64
		want    int
	}{{0, 1}, {2 << 20, 1}, {20 << 20, 3}, {5 << 30, 16}, {math.MaxUint64, 16}} {
		if got := defaultThreads(tc.weights, 16); got != tc.want {
			t.Errorf("%d bytes of weights: %d threads, want %d", tc.weights, got, tc.want)
		}
	}
}

// write makes a model file.
func write(t *testing.T, kvs []gguf.KV, tensors []gguf.Data) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "model.gguf")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(gguf.Write(f, kvs, tensors), f.Close()); err != nil {
		t.Fatal(err)
	}
	return p
}

// vocabulary is the metadata of a small SentencePiece vocabulary.
func vocabulary(arch string) []gguf.KV {
	const n = 64
	pieces, scores, kinds := make([]string, n), make([]float32, n), make([]int32, n)
	for i := range n {
		pieces[i], scores[i], kinds[i] = fmt.Sprintf("t%d", i), float32(-i), 1
	}
	pieces[0], pieces[1], pieces[2] = "<unk>", "<s>", "</s>"
	kinds[0], kinds[1], kinds[2] = 2, 3, 3
	return []gguf.KV{{Key: "general.architecture", Value: arch}, {Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: pieces}, {Key: "tokenizer.ggml.scores", Value: scores},
		{Key: "tokenizer.ggml.token_type", Value: kinds}, {Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)}}
}

func tensor(name string, dims ...uint64) gguf.Data {
	d := gguf.Data{Tensor: gguf.Tensor{Name: name, Type: gguf.F32, Dims: dims}}
	for i := range d.Elements() {
		v := float32(math.Sin(float64(i))) / 4
		d.Raw = binary.LittleEndian.AppendUint32(d.Raw, math.Float32bits(v))
	}
	return d
}

// mamba makes a recurrent model, whose state knows no positions.
func mamba(t *testing.T) string {
	const dim, inner, state, conv, rank = 16, 32, 4, 4, 2
	kvs := append(vocabulary("mamba"), gguf.KV{Key: "mamba.context_length", Value: uint32(256)},
		gguf.KV{Key: "mamba.embedding_length", Value: uint32(dim)}, gguf.KV{Key: "mamba.block_count", Value: uint32(1)},
		gguf.KV{Key: "mamba.feed_forward_length", Value: uint32(0)}, gguf.KV{Key: "mamba.attention.head_count", Value: uint32(0)},
		gguf.KV{Key: "mamba.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		gguf.KV{Key: "mamba.ssm.conv_kernel", Value: uint32(conv)}, gguf.KV{Key: "mamba.ssm.inner_size", Value: uint32(inner)},
		gguf.KV{Key: "mamba.ssm.state_size", Value: uint32(state)}, gguf.KV{Key: "mamba.ssm.time_step_rank", Value: uint32(rank)})
	return write(t, kvs, []gguf.Data{tensor("token_embd.weight", dim, 64), tensor("output_norm.weight", dim), tensor("output.weight", dim, 64),
		tensor("blk.0.attn_norm.weight", dim), tensor("blk.0.ssm_in.weight", dim, 2*inner), tensor("blk.0.ssm_conv1d.weight", conv, inner),
		tensor("blk.0.ssm_conv1d.bias", inner), tensor("blk.0.ssm_x.weight", inner, rank+2*state), tensor("blk.0.ssm_dt.weight", rank, inner),
		tensor("blk.0.ssm_dt.bias", inner), tensor("blk.0.ssm_a", state, inner), tensor("blk.0.ssm_d", inner), tensor("blk.0.ssm_out.weight", inner, dim)})
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.gguf")
	if err := os.WriteFile(garbage, []byte("GGUF but not really, and long enough to look at"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, model, text string
		opts              []string
	}{
		{"no file", filepath.Join(dir, "none.gguf"), "no model file", nil},
		{"no model", garbage, "GGUF", nil},
		{"unknown architecture", write(t, vocabulary("tomorrow"), nil), `does not know the architecture "tomorrow"`, nil},
		{"no tensors", write(t, append(vocabulary("llama"), gguf.KV{Key: "llama.block_count", Value: uint32(1)}), nil), "llama", nil},
		{"recurrent", mamba(t), "cannot roll back", nil},
		{"long context", small, "the model's own is", []string{"context", "9999999"}},
		{"little memory", small, "kv_tokens", []string{"context", "400", "kv_tokens", "300"}},
		{"many shares", small, "tensor_split", []string{"tensor_split", strings.Repeat("1,", 5000) + "1"}},
		{"other library", small, "cannot change", []string{"lib", dir}},
		{"quantised values without flash attention", small, "V cache", []string{"kv_type_v", "q8_0", "flash_attention", "off"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			engine(t, small)
			_, err := Load(t.Context(), tc.model, makeOptions(t, tc.opts...), nil)
			t.Log(err)
			if !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want %q", err, tc.text)
			}
		})
	}
	engine(t, small)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), models.DraftName+"-*.gguf"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMissingLibrariesAreExplained(t *testing.T) {
	var p process
	_, err := p.open(t.TempDir())
	if !errors.Is(err, library.ErrNotFound) || !strings.Contains(err.Error(), "outrider install llamacpp") {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, n := range library.Host().Names() {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("no library"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err = p.open(dir)
	if !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), "outrider install llamacpp") {
		t.Fatal(err)
	}
	t.Log(err)
}

func TestLoadCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := makeOptions(t)
	_, err := Load(ctx, models.TargetName, o, func(float32) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
}

// Every model at hand loads and runs, and so do the kinds of KV cache.
func TestAllModelsRun(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "models")
	paths, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Log("the shared data is not here: the embedded models only")
	}
	for _, model := range append(paths, models.TargetName, models.DraftName) {
		t.Run(filepath.Base(model), func(t *testing.T) {
			e := engine(t, model)
			d, err := describe(model)
			if err != nil {
				t.Fatal(err)
			}
			prompt := d.tok.Encode("Once upon a time", tokenizer.Options{AddBOS: true})
			out := draft(t, e, backend.DraftRequest{MaxTokens: 40, Segment: backend.Segment{Sequence: 1, Tokens: prompt, Setup: greedy}})
			t.Logf("%s: %q", e.Info().Numerics, d.tok.Decode(out))
			if len(out) == 0 {
				t.Fatal("it says nothing")
			}
			if want := llama.VocabNTokens(llama.ModelGetVocab(e.model)); int(want) != d.tok.Size() {
				t.Fatalf("%d tokens, llama.cpp counts %d", d.tok.Size(), want)
			}
		})
	}
	for _, kv := range []string{"f32", "bf16", "q8_0"} {
		e := engine(t, models.TargetName, "kv_type_k", kv, "kv_type_v", kv)
		seg := backend.Segment{Sequence: 1, Tokens: tokens(t, models.TargetName, "Once upon a time"), Setup: greedy}
		if out := draft(t, e, backend.DraftRequest{MaxTokens: 10, Segment: seg}); len(out) != 10 {
			t.Fatalf("kv %s: %v", kv, out)
		}
	}
}

// As a plugin, with no environment but what the host gives.
func TestPlugin(t *testing.T) {
	h, err := backend.Launch(t.Context(), backend.HostConfig{Name: "test", Args: []string{"plugin"}, Model: small,
		Options: makeOptions(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	seg := backend.Segment{Sequence: 1, Tokens: tokens(t, small, "Once upon a time"), Setup: greedy}
	want := draft(t, engine(t, small), backend.DraftRequest{Segment: seg, MaxTokens: 12})
	if got := draft(t, h, backend.DraftRequest{Segment: seg, MaxTokens: 12}); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	_, err = backend.Launch(t.Context(), backend.HostConfig{Name: "test", Args: []string{"plugin"}, Model: mamba(t),
		Options: makeOptions(t), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), "cannot roll back") {
		t.Fatal(err)
	}
}

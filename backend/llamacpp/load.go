// Package llamacpp runs GGUF models with llama.cpp, whose shared libraries it loads at run time: the
// program itself needs no C compiler. It is the engine for real models and for GPUs.
//
// Unlike the reference engine's, a row's logits depend in their last bits on the shape of the pass
// that computes it, so a greedy choice between two nearly equal tokens may differ between decoding
// and scoring.
package llamacpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp/library"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// version is raised by every change that may alter a bit of the output.
const version = 1

// Load is a backend.Loader. model is the path of a GGUF file (of the first, when it is split) or the
// name of an embedded model. Options: threads; context (rows of one sequence, at most the model's);
// sequences (that hold rows at once); kv_tokens (rows in all, allocated at once); batch (rows per
// pass); gpu_layers (all, or a number); main_gpu (one GPU for the whole model); tensor_split (shares of the GPUs); flash_attention
// (auto, on, off); kv_type_k and kv_type_v (f16, q8_0, ...); lib (folder of the libraries). Errors
// wrap backend.ErrLoad.
func Load(ctx context.Context, model string, opts map[string]string, progress func(float32)) (backend.Model, error) {
	e, err := load(ctx, model, opts, progress)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", backend.ErrLoad, err)
	}
	return e, nil
}

func load(ctx context.Context, model string, opts map[string]string, progress func(float32)) (*Engine, error) {
	o, err := parseOptions(opts)
	if err != nil {
		return nil, err
	}
	d, err := describe(model)
	if err != nil {
		return nil, err
	}
	path, remove, err := file(model)
	if err != nil {
		return nil, err
	}
	e, err := open(ctx, path, d, o, progress)
	remove() // llama.cpp has mapped it by now; where that keeps it from being removed, Close does
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	e.remove = remove
	if progress != nil {
		progress(1)
	}
	return e, nil
}

// description is what the file itself says of the model.
type description struct {
	name, architecture string
	context, layers    int
	headDim            int
	tok                *tokenizer.Tokenizer
}

func describe(model string) (description, error) {
	var d description
	f, err := openGGUF(model)
	if err != nil {
		return d, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if d.tok, err = tokenizer.FromGGUF(f); err != nil {
		return d, fmt.Errorf("%s: %w", model, err)
	}
	d.architecture, _ = f.String("general.architecture")
	if d.name, _ = f.String("general.name"); d.name == "" {
		d.name = strings.TrimSuffix(filepath.Base(model), ".gguf")
	}
	count := func(key string) int {
		v, _ := f.Uint(d.architecture + "." + key)
		return int(min(v, 1<<24))
	}
	d.context, d.layers, d.headDim = count("context_length"), count("block_count"), count("attention.key_length")
	if heads := count("attention.head_count"); d.headDim == 0 && heads > 0 {
		d.headDim = count("embedding_length") / heads
	}
	return d, nil
}

func openGGUF(model string) (*gguf.File, error) {
	if data, ok := models.Embedded(model); ok {
		return gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	}
	f, err := gguf.Open(model)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no model file %s (give the path of a GGUF file, or one of the embedded models %s and %s)",
			model, models.TargetName, models.DraftName)
	}
	return f, err
}

// open loads the model and makes a context for it.
func open(ctx context.Context, path string, d description, o options, progress func(float32)) (*Engine, error) {
	shared.Lock()
	defer shared.Unlock()
	lib, err := shared.open(o.lib)
	if err != nil {
		return nil, err
	}
	shared.log.take()
	if !lib.Tested() {
		slog.Warn("this version of llama.cpp was not tested", "version", lib.Version, "folder", lib.Dir)
	}
	if idle := library.Idle(lib.Dir, lib.Devices); idle != "" && o.gpuLayers != 0 {
		slog.Warn(idle)
	}
	m, err := loadModel(ctx, path, o, progress)
	if err != nil {
		return nil, explain(err, shared.log.take(), d, lib)
	}
	e := &Engine{model: m, turn: make(chan struct{}, 1), vocab: d.tok.Size(), options: o,
		samplers:  backend.NewSamplers(d.tok.Size(), d.tok.Bytes, d.tok.EndTokens()),
		sequences: map[backend.Sequence]*sequence{}, abort: &abortable{}}
	if err = e.suits(); err == nil {
		err = e.newContext(d, lib)
	}
	if err == nil {
		err = e.probe(ctx)
	}
	if err != nil {
		text := shared.log.take()
		e.free()
		return nil, explain(err, text, d, lib)
	}
	e.describe(d, lib)
	return e, nil
}

func loadModel(ctx context.Context, path string, o options, progress func(float32)) (llama.Model, error) {
	p := llama.ModelDefaultParams()
	p.NGpuLayers = int32(o.gpuLayers)
	if o.mainGPU >= 0 {
		p.MainGpu, p.SplitMode = int32(o.mainGPU), llama.SplitModeNone
	}
	split := make([]float32, max(1, llama.MaxDevices()))
	if len(o.split) > len(split) {
		return 0, fmt.Errorf("option tensor_split has %d shares, llama.cpp knows %d devices at most", len(o.split), len(split))
	}
	if len(o.split) > 0 {
		copy(split, o.split)
		p.TensorSplit = &split[0]
	}
	p.SetProgressCallback(func(done float32, _ uintptr) uint8 {
		if ctx.Err() != nil {
			return 0
		}
		if progress != nil {
			progress(min(done, 0.99))
		}
		return 1
	})
	m, err := llama.ModelLoadFromFile(path, p)
	runtime.KeepAlive(split)
	return m, err
}

// suits refuses models that cannot do what Forward promises.
func (e *Engine) suits() error {
	vocab := int(llama.VocabNTokens(llama.ModelGetVocab(e.model)))
	switch {
	case !llama.ModelHasDecoder(e.model) || llama.ModelHasEncoder(e.model):
		return errors.New("it is no decoder-only language model")
	case llama.ModelIsDiffusion(e.model):
		return errors.New("a diffusion model does not decode from left to right")
	case llama.ModelIsRecurrent(e.model) || llama.ModelIsHybrid(e.model):
		return errRollback
	case vocab < e.vocab:
		return fmt.Errorf("the tokenizer has %d tokens, the model only %d rows", e.vocab, vocab)
	}
	return nil
}

var errRollback = errors.New("its memory cannot roll back (a recurrent or hybrid model), which every rejected proposal needs; " +
	"use a model with attention in all layers")

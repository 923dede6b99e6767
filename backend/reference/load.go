// Package reference runs Llama-architecture GGUF models in pure Go. It is there so that a machine
// with nothing but Go runs a real transformer, and so that tests can compare outputs bit by bit:
// a row's result never depends on what else is in the batch.
package reference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// version is raised by every change that may alter a bit of the output.
const version = 1

// Defaults of the options.
const (
	defaultThreads   = 4 // at most, and no more than there are processors
	defaultSequences = 256
	defaultKVBytes   = 512 << 20 // or one full context, up to eight times as much
)

// options are the engine's settings; 0 stands for the default.
type options struct {
	threads, context, kvTokens, sequences int
	weights                               string // auto, f32, packed
}

// Load is a backend.Loader. model is the path of a GGUF file or the name of an embedded model.
// Options: threads; context (rows of one sequence, at most the model's); sequences (that hold rows
// at once); kv_tokens (rows in all); weights: f32 (decoded once), packed (as in the file, decoded
// in every pass), auto (f32 while that takes at most 1 GiB). Errors wrap backend.ErrLoad.
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
	f, err := open(model)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	e, err := build(ctx, f, o, progress)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	if e.info.Name == "" {
		e.info.Name = strings.TrimSuffix(filepath.Base(model), ".gguf")
	}
	if progress != nil {
		progress(1)
	}
	return e, nil
}

func open(model string) (*gguf.File, error) {
	if data, ok := models.Embedded(model); ok {
		f, err := gguf.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", model, err)
		}
		return f, nil
	}
	f, err := gguf.Open(model)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no model file %s (give the path of a GGUF file, or one of the embedded models %s and %s)",
			model, models.TargetName, models.DraftName)
	}
	return f, err
}

func build(ctx context.Context, f *gguf.File, o options, progress func(float32)) (*Engine, error) {
	c, err := readConfig(f)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, err
	}
	w, err := loadWeights(ctx, f, &c, o.weights, progress)
	if err != nil {
		return nil, err
	}
	// A vocabulary may be padded to a round number of rows; the padding is no token.
	if tok.Size() > c.vocab {
		return nil, fmt.Errorf("the vocabulary has %d tokens, tensor token_embd.weight only %d rows", tok.Size(), c.vocab)
	}
	c.vocab = tok.Size()
	w.output = w.output.first(c.vocab)
	if o.context > c.context {
		return nil, fmt.Errorf("option context is %d, the model's own is %d", o.context, c.context)
	}
	if o.context > 0 {
		c.context = o.context
	}
	rowBytes := c.layers * 2 * c.kvDim * 4
	if o.kvTokens == 0 {
		rows := defaultKVBytes / rowBytes
		o.kvTokens = min(max(rows, min(c.context, 8*rows)), o.sequences*c.context) + pageRows - 1
	}
	kv := pages{all: max(1, o.kvTokens/pageRows), floats: pageRows * rowBytes / 4}
	e := &Engine{c: c, maxSequences: o.sequences, samplers: backend.NewSamplers(tok.Size(), tok.Bytes, tok.EndTokens()), turn: make(chan struct{}, 1), kv: kv,
		m: newMachine(c, w, o.threads), sequences: map[backend.Sequence]*sequence{}}
	e.info = backend.Info{
		Name: c.name, Engine: "reference", Architecture: "llama",
		ContextLength: c.context, VocabularySize: c.vocab, Vocabulary: tok.Fingerprint(), EndTokens: tok.EndTokens(),
		Numerics:  fmt.Sprintf("reference/%d %s %s", version, numericsSet(), strings.Join(w.types, "+")),
		Sequences: o.sequences, KVTokens: kv.all * pageRows, Trees: true, Constraints: true, Rules: true, Parameters: w.parameters,
	}
	return e, nil
}

// parseOptions reads the options and fills in the defaults, except for those that depend on the model.
func parseOptions(opts map[string]string) (options, error) {
	o := options{threads: min(defaultThreads, runtime.NumCPU()), sequences: defaultSequences, weights: "auto"}
	numbers := map[string]struct {
		to  *int
		max int
	}{
		"threads": {&o.threads, 1024}, "context": {&o.context, maxContext},
		"kv_tokens": {&o.kvTokens, 1 << 30}, "sequences": {&o.sequences, 1 << 20},
	}
	for key, value := range opts {
		if key == "weights" {
			if !slices.Contains([]string{"auto", "f32", "packed"}, value) {
				return o, fmt.Errorf("option weights is %q, must be auto, f32 or packed", value)
			}
			o.weights = value
			continue
		}
		n, ok := numbers[key]
		if !ok {
			return o, fmt.Errorf("option %q is unknown (the reference engine has threads, context, sequences, kv_tokens and weights)", key)
		}
		v, err := strconv.Atoi(value)
		if err != nil || v < 1 || v > n.max {
			return o, fmt.Errorf("option %s is %q, must be a number from 1 to %d", key, value, n.max)
		}
		*n.to = v
	}
	return o, nil
}

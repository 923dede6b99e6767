package llamacpp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp/library"
)

const (
	defaultKVBytes = 1 << 30 // at most, unless minContext rows take more
	minContext     = 4096    // rows that a default cache has at least
	maxOutputs     = 256     // rows of logits per pass: they bound llama.cpp's buffers
	rowRounding    = 256     // llama.cpp rounds the size of its cache up to it
)

// newContext allocates the KV cache.
func (e *Engine) newContext(d description, lib *Library) error {
	o := e.options
	if o.threads == 0 {
		o.threads = defaultThreads(llama.ModelSize(e.model), runtime.GOMAXPROCS(0))
	}
	trained := int(llama.ModelNCtxTrain(e.model))
	if trained <= 0 {
		trained = minContext
	}
	if o.context > trained {
		return fmt.Errorf("option context is %d, the model's own is %d", o.context, trained)
	}
	if o.context == 0 {
		o.context = trained
	}
	if o.kvTokens == 0 {
		fit := defaultKVBytes / max(1, e.rowBytes(d))
		o.kvTokens = min(max(fit, min(o.context, minContext)), o.sequences*o.context)
	}
	if o.kvTokens < o.context {
		if e.options.context > 0 {
			return fmt.Errorf("option kv_tokens is %d, less than the context of %d", o.kvTokens, o.context)
		}
		slog.Warn("the KV cache is smaller than the model's context: raise kv_tokens for longer ones", "kv_tokens", o.kvTokens, "context", o.context)
		o.context = o.kvTokens
	}
	if o.flash == llama.FlashAttentionTypeAuto && !offloads(o, lib) && llama.GGMLBlockSize(o.typeV) == 1 {
		o.flash = llama.FlashAttentionTypeDisabled // llama.cpp would use it, at a quarter of the speed on CPUs; quantised values need it
	}
	all := int(llama.MaxParallelSequences())
	if o.sequences > all {
		return fmt.Errorf("option sequences is %d, llama.cpp has %d at most", o.sequences, all)
	}
	e.rows = (o.kvTokens + rowRounding - 1) / rowRounding * rowRounding
	e.options = o
	if err := e.fits(d, lib); err != nil {
		return err
	}
	p := llama.ContextDefaultParams()
	size := uint32(max(o.batch, all)) // it aborts when a batch is smaller than the number of sequences
	p.NCtx, p.NBatch, p.NUbatch = uint32(e.rows), size, size
	p.NSeqMax, p.NOutputsMax, p.NOutputsMaxPerSeq = uint32(all), maxOutputs, maxOutputs
	p.NThreads, p.NThreadsBatch = int32(o.threads), int32(o.threads)
	p.FlashAttentionType, p.TypeK, p.TypeV = o.flash, o.typeK, o.typeV
	p.KVUnified, p.SwaFull = 1, 1 // all sequences share the rows; windowed layers keep theirs, so that they roll back
	var err error
	if e.ctx, err = llama.InitFromModel(e.model, p); err != nil {
		return errors.New("cannot make its KV cache and buffers")
	}
	if e.memory, err = llama.GetMemory(e.ctx); err != nil || e.memory == 0 {
		return errors.New("it has no KV cache")
	}
	e.rows = min(e.rows, int(llama.NCtx(e.ctx)))
	e.batchRows, e.batchOutputs = min(o.batch, int(llama.NUBatch(e.ctx))), maxOutputs
	e.batch = llama.BatchInit(int32(e.batchRows), 0, int32(all))
	e.ready = true
	llama.SetAbortCallback(e.ctx, e.abort.aborted)
	for id := range llama.SeqId(all) {
		if int(id) < o.sequences {
			e.freeIDs = append(e.freeIDs, id)
		} else {
			e.freeBranches = append(e.freeBranches, id)
		}
	}
	return nil
}

// rowBytes estimates what a row of the KV cache takes.
func (e *Engine) rowBytes(d description) int {
	size := func(t llama.GGMLType) int { return int(llama.GGMLRowSize(t, 256)) }
	n := d.layers * int(llama.ModelNHeadKV(e.model)) * d.headDim
	return n * (size(e.options.typeK) + size(e.options.typeV)) / 256
}

// probe runs two rows and takes one back: what a model's memory can do is best asked of itself.
func (e *Engine) probe(ctx context.Context) error {
	if err := e.add(row{token: 0, pos: 0, ids: []llama.SeqId{0}}); err != nil {
		return err
	}
	if err := e.add(row{token: 0, pos: 1, ids: []llama.SeqId{0}, logits: true}); err != nil {
		return err
	}
	if err := e.decode(ctx); err != nil {
		return fmt.Errorf("the first pass failed: %w", err)
	}
	if ok, err := llama.MemorySeqRm(e.memory, 0, 1, -1); err != nil || !ok {
		return errRollback
	}
	return e.removeRows(0, 0)
}

// describe fills in Info.
func (e *Engine) describe(d description, lib *Library) {
	where := " cpu " + digest([]byte(lib.System))
	if offloads(e.options, lib) {
		where = ""
		for _, dev := range lib.Devices {
			where += " " + dev.Description
		}
	}
	kv := fmt.Sprint(e.options.typeK, "/", e.options.typeV)
	quantisation := llama.FtypeName(llama.ModelFtype(e.model))
	numerics := fmt.Sprintf("llamacpp/%d %s %s %s%s kv %s fa %s threads %d", version, lib.Version, fingerprint(lib.Found), quantisation, where, kv, llama.FlashAttnTypeName(e.options.flash), e.options.threads)
	const most = 256 // a longer one would not travel
	if len(numerics) > most {
		numerics = numerics[:most-9] + " " + digest([]byte(numerics))
	}
	e.info = backend.Info{
		Name: d.name, Engine: "llamacpp", Architecture: d.architecture,
		ContextLength: e.options.context, VocabularySize: e.vocab, Vocabulary: d.tok.Fingerprint(), EndTokens: d.tok.EndTokens(),
		Numerics: numerics, Sequences: e.options.sequences, KVTokens: e.rows, Trees: true, Constraints: true, Rules: true, ShapeDependent: true, Parameters: llama.ModelNParams(e.model),
	}
}

// offloads says whether anything but the CPU runs the model.
func offloads(o options, lib *Library) bool {
	return o.gpuLayers != 0 && slices.ContainsFunc(lib.Devices, func(d library.Device) bool {
		return d.Kind != llama.GGMLBackendDeviceTypeCPU.String() && d.Kind != llama.GGMLBackendDeviceTypeACCEL.String()
	})
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:4])
}

// fingerprint tells builds of one version apart by the sizes of their files.
func fingerprint(f library.Found) string {
	var b strings.Builder
	paths, _ := filepath.Glob(filepath.Join(f.Dir, "*ggml*")) // the pattern is well-formed
	for _, p := range append(paths, filepath.Join(f.Dir, library.Host().Names()[0])) {
		if st, err := os.Stat(p); err == nil {
			fmt.Fprintf(&b, "%s %d\n", filepath.Base(p), st.Size())
		}
	}
	return digest([]byte(b.String()))
}

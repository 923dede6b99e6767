package reference

import (
	"fmt"
	"math"

	"github.com/outrider-llm/outrider/gguf"
)

// config holds the hyperparameters of a Llama-architecture model.
type config struct {
	name                        string
	context, dim, layers, vocab int
	heads, kvHeads, headDim     int
	qDim, kvDim, group          int // heads*headDim, kvHeads*headDim, heads/kvHeads
	ropeDims                    int // leading dimensions of a head that are rotated
	eps                         float32
	ropeBase, ropeScale         float64 // positions are multiplied by ropeScale
	scoreScale                  float32 // 1/sqrt(headDim)
}

// Bounds on what a file may claim; real models stay far below.
const (
	maxContext = 1 << 24
	maxDim     = 1 << 20
	maxLayers  = 1 << 12
)

// readConfig reads and checks the metadata under "llama.".
func readConfig(f *gguf.File) (config, error) {
	arch, ok := f.String("general.architecture")
	if !ok {
		return config{}, fmt.Errorf("the file names no architecture (general.architecture is missing)")
	}
	if arch != "llama" {
		return config{}, fmt.Errorf("architecture %q is not supported by the reference engine (it runs llama; other models need the llamacpp engine)", arch)
	}
	var c config
	c.name, _ = f.String("general.name")
	r := reader{f: f}
	c.context = r.count("context_length", 0, maxContext)
	c.dim = r.count("embedding_length", 0, maxDim)
	c.layers = r.count("block_count", 0, maxLayers)
	c.heads = r.count("attention.head_count", 0, maxDim)
	c.kvHeads = r.count("attention.head_count_kv", c.heads, maxDim)
	if r.err != nil {
		return config{}, r.err
	}
	if c.heads%c.kvHeads != 0 {
		return config{}, fmt.Errorf("%d attention heads cannot share %d key-value heads", c.heads, c.kvHeads)
	}
	derived := 0
	if c.dim%c.heads == 0 {
		derived = c.dim / c.heads
	}
	c.headDim = r.count("attention.key_length", derived, maxDim)
	if c.headDim > maxDim/c.heads {
		r.fail(fmt.Errorf("%d heads of %d numbers are more than the reference engine takes", c.heads, c.headDim))
	}
	if v := r.count("attention.value_length", c.headDim, maxDim); r.err == nil && v != c.headDim {
		return config{}, fmt.Errorf("value heads of %d beside key heads of %d are not supported", v, c.headDim)
	}
	c.ropeDims = r.count("rope.dimension_count", c.headDim, maxDim)
	c.eps = float32(r.number("attention.layer_norm_rms_epsilon", 1e-5, 0, 1))
	c.ropeBase = r.number("rope.freq_base", 10000, 1e-3, 1e12)
	r.scaling(&c)
	if n, ok := f.Uint("llama.expert_count"); ok && n > 0 {
		return config{}, fmt.Errorf("mixture-of-experts models (llama.expert_count %d) are not supported by the reference engine", n)
	}
	if r.err != nil {
		return config{}, r.err
	}
	if c.ropeDims > c.headDim || c.ropeDims%2 != 0 {
		return config{}, fmt.Errorf("llama.rope.dimension_count is %d, must be even and at most the head size %d", c.ropeDims, c.headDim)
	}
	c.qDim, c.kvDim, c.group = c.heads*c.headDim, c.kvHeads*c.headDim, c.heads/c.kvHeads
	c.scoreScale = float32(1 / math.Sqrt(float64(c.headDim)))
	return c, nil
}

// reader reads metadata and keeps the first error.
type reader struct {
	f   *gguf.File
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// count reads a number of things from 1 to limit; def 0 means that it must be there.
func (r *reader) count(key string, def, limit int) int {
	v, ok := r.f.Uint("llama." + key)
	switch {
	case !ok && def > 0:
		return def
	case !ok:
		r.fail(fmt.Errorf("llama.%s is missing or not a number", key))
		return 1
	case v == 0 || v > uint64(limit):
		r.fail(fmt.Errorf("llama.%s is %d, must be between 1 and %d", key, v, limit))
		return 1
	}
	return int(v)
}

func (r *reader) number(key string, def, lo, hi float64) float64 {
	v, ok := r.f.Float("llama." + key)
	if !ok {
		return def
	}
	if math.IsNaN(v) || v < lo || v > hi {
		r.fail(fmt.Errorf("llama.%s is %g, must be between %g and %g", key, v, lo, hi))
		return def
	}
	return v
}

// scaling reads how positions are scaled: not at all, or linearly (Chen et al., arXiv 2306.15595).
func (r *reader) scaling(c *config) {
	c.ropeScale = 1
	kind, _ := r.f.String("llama.rope.scaling.type")
	switch kind {
	case "none":
		return
	case "", "linear":
	default:
		r.fail(fmt.Errorf("rope scaling %q is not supported by the reference engine (it knows none and linear)", kind))
		return
	}
	factor := r.number("rope.scale_linear", 1, 1e-3, 1e6)
	if v := r.number("rope.scaling.factor", factor, 0, 1e6); v != 0 {
		c.ropeScale = 1 / v
	}
}

package reference

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/gguf"
)

// matrix is a weight matrix: rows outputs by cols inputs, plus an optional bias.
type matrix struct {
	rows, cols int
	f32        []float32 // row-major; nil when the rows are kept packed
	packed     []byte
	rowBytes   int
	decode     decoder
	bias       []float32 // nil: none
}

// row returns a row, decoded into scratch (cols long) when it is packed.
func (m *matrix) row(i int, scratch []float32) []float32 {
	return m.block(i, 1, scratch)
}

// block returns k rows from row i on, decoded into scratch when they are packed.
func (m *matrix) block(i, k int, scratch []float32) []float32 {
	if m.f32 != nil {
		return m.f32[i*m.cols:][:k*m.cols]
	}
	out := scratch[:k*m.cols]
	m.decode(out, m.packed[i*m.rowBytes:][:k*m.rowBytes])
	return out
}

// first returns the matrix of the first n rows.
func (m *matrix) first(n int) *matrix {
	f := *m
	f.rows = n
	return &f
}

type layer struct {
	attnNorm, ffnNorm []float32
	q, k, v, o        *matrix
	gate, up, down    *matrix
}

type weights struct {
	embed      *matrix
	layers     []layer
	norm       []float32
	output     *matrix
	ropeFactor []float32 // divides the rotation frequencies; nil: none
	ff         int       // the largest feed-forward length
	parameters uint64
	types      []string // types of the matrices, sorted
}

// loader reads tensors and keeps the first error.
type loader struct {
	ctx      context.Context // of the load, which is one call
	f        *gguf.File
	packed   bool
	w        weights
	progress func(float32)
	total    uint64 // bytes
	read     uint64
	err      error
}

// autoPackBytes: beyond this many bytes as float32, weights stay in the file's type.
const autoPackBytes = 1 << 30

// loadWeights reads every tensor that the configuration calls for and sets c.vocab.
func loadWeights(ctx context.Context, f *gguf.File, c *config, packing string, progress func(float32)) (*weights, error) {
	l := &loader{ctx: ctx, f: f, progress: progress}
	elements := uint64(0)
	for _, t := range f.Tensors() {
		l.total += t.Size()
		elements += t.Elements()
	}
	l.packed = packing == "packed" || packing == "auto" && elements > autoPackBytes/4
	embed, ok := f.Tensor("token_embd.weight")
	if !ok || len(embed.Dims) != 2 || embed.Dims[1] > 1<<24 {
		return nil, fmt.Errorf("tensor token_embd.weight is missing or no matrix")
	}
	c.vocab = int(embed.Dims[1])
	w := &l.w
	w.embed = l.matrix("token_embd", c.vocab, c.dim)
	for i := 0; i < c.layers && l.err == nil; i++ {
		w.layers = append(w.layers, l.layer(fmt.Sprintf("blk.%d.", i), c))
	}
	w.norm = l.vector("output_norm.weight", c.dim)
	w.output = w.embed // tied unless the file says otherwise
	if _, ok := f.Tensor("output.weight"); ok {
		w.output = l.matrix("output", c.vocab, c.dim)
	}
	if _, ok := f.Tensor("rope_freqs.weight"); ok {
		w.ropeFactor = l.vector("rope_freqs.weight", c.ropeDims/2)
		if slices.Contains(w.ropeFactor, 0) {
			l.fail(fmt.Errorf("tensor rope_freqs.weight holds a zero"))
		}
	}
	if l.err != nil {
		return nil, l.err
	}
	slices.Sort(w.types)
	return w, nil
}

func (l *loader) layer(prefix string, c *config) layer {
	ff := 0
	if t, ok := l.f.Tensor(prefix + "ffn_up.weight"); ok && len(t.Dims) == 2 && t.Dims[1] <= maxDim {
		ff = int(t.Dims[1])
	}
	l.w.ff = max(l.w.ff, ff)
	return layer{
		attnNorm: l.vector(prefix+"attn_norm.weight", c.dim),
		q:        l.matrix(prefix+"attn_q", c.qDim, c.dim),
		k:        l.matrix(prefix+"attn_k", c.kvDim, c.dim),
		v:        l.matrix(prefix+"attn_v", c.kvDim, c.dim),
		o:        l.matrix(prefix+"attn_output", c.dim, c.qDim),
		ffnNorm:  l.vector(prefix+"ffn_norm.weight", c.dim),
		up:       l.matrix(prefix+"ffn_up", ff, c.dim),
		gate:     l.matrix(prefix+"ffn_gate", ff, c.dim),
		down:     l.matrix(prefix+"ffn_down", c.dim, ff),
	}
}

func (l *loader) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// tensor reads the raw data of a tensor that must have these dimensions, innermost first.
func (l *loader) tensor(name string, dims ...int) (raw []byte, t gguf.Tensor) {
	t, ok := l.f.Tensor(name)
	if !ok {
		l.fail(fmt.Errorf("tensor %s is missing", name))
	}
	if err := l.ctx.Err(); err != nil {
		l.fail(err)
	}
	if l.err != nil {
		return nil, t
	}
	same := len(t.Dims) == len(dims)
	for i := 0; same && i < len(dims); i++ {
		same = t.Dims[i] == uint64(dims[i])
	}
	if !same {
		l.fail(fmt.Errorf("tensor %s has shape %v, the metadata calls for %v", name, t.Dims, dims))
		return nil, t
	}
	raw, err := l.f.ReadTensor(t)
	if err != nil {
		l.fail(err)
		return nil, t
	}
	l.w.parameters += t.Elements()
	l.read += t.Size()
	if l.progress != nil {
		l.progress(float32(float64(l.read) / float64(max(l.total, 1))))
	}
	return raw, t
}

func (l *loader) vector(name string, n int) []float32 {
	raw, t := l.tensor(name, n)
	if l.err != nil {
		return nil
	}
	decode, _, _, err := decoderOf(t.Type)
	if err != nil {
		l.fail(fmt.Errorf("tensor %s: %w", name, err))
		return nil
	}
	out := make([]float32, n)
	decode(out, raw)
	return out
}

// matrix reads name.weight and, where there is one, name.bias.
func (l *loader) matrix(name string, rows, cols int) *matrix {
	raw, t := l.tensor(name+".weight", cols, rows)
	if l.err != nil {
		return nil
	}
	decode, bytes, elements, err := decoderOf(t.Type)
	if err != nil {
		l.fail(fmt.Errorf("tensor %s.weight: %w", name, err))
		return nil
	}
	m := &matrix{rows: rows, cols: cols, packed: raw, rowBytes: cols / elements * bytes, decode: decode}
	if !l.packed {
		m.f32 = make([]float32, rows*cols)
		decode(m.f32, raw)
		m.packed = nil
	}
	if kind := strings.ToLower(t.Type.String()); !slices.Contains(l.w.types, kind) {
		l.w.types = append(l.w.types, kind)
	}
	if _, ok := l.f.Tensor(name + ".bias"); ok {
		m.bias = l.vector(name+".bias", rows)
	}
	return m
}

package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

// Bounds on what a file may claim; real files stay far below.
const (
	maxString  = 64 << 20
	maxKey     = 64 << 10
	maxKeys    = 1 << 20
	maxTensors = 1 << 20
	maxDims    = 4
)

const defaultAlignment = 32

// NewReader reads the metadata of a GGUF file of the given size.
func NewReader(r io.ReaderAt, size int64) (*File, error) {
	p := &parser{b: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), left: size, size: size}
	f := &File{r: r, size: size, kv: map[string]any{}, index: map[string]int{}}
	tensors, keys := p.header(f)
	for range keys {
		key := p.str(maxKey)
		v := p.value(Kind(p.u32()))
		if p.err != nil {
			return nil, p.err
		}
		if _, dup := f.kv[key]; dup {
			return nil, fmt.Errorf("%w: metadata key %q stands twice", ErrCorrupt, key)
		}
		f.kv[key] = v
		f.keys = append(f.keys, key)
	}
	for range tensors {
		t := p.tensor()
		if p.err != nil {
			return nil, p.err
		}
		if _, dup := f.index[t.Name]; dup {
			return nil, fmt.Errorf("%w: tensor %q stands twice", ErrCorrupt, t.Name)
		}
		f.index[t.Name] = len(f.tensors)
		f.tensors = append(f.tensors, t)
	}
	if p.err != nil {
		return nil, p.err
	}
	return f, f.place(size - p.left)
}

// place finds the data section and checks that every tensor lies within the file.
func (f *File) place(at int64) error {
	align := uint64(defaultAlignment)
	if a, ok := f.Uint("general.alignment"); ok {
		if a == 0 || a > 1<<20 || a&(a-1) != 0 {
			return fmt.Errorf("%w: alignment %d", ErrCorrupt, a)
		}
		align = a
	}
	f.data = (at + int64(align) - 1) / int64(align) * int64(align)
	if len(f.tensors) > 0 && f.data > f.size {
		return ErrTruncated
	}
	for _, t := range f.tensors {
		if t.Offset%align != 0 {
			return fmt.Errorf("%w: tensor %s is not aligned", ErrCorrupt, t.Name)
		}
		room := uint64(f.size - f.data)
		if t.Offset > room || t.Size() > room-t.Offset {
			return fmt.Errorf("%w: tensor %s (%s, %d bytes) ends beyond the file", ErrTruncated, t.Name, t.Type, t.Size())
		}
	}
	return nil
}

type parser struct {
	b          *bufio.Reader
	left, size int64
	err        error
	buf        [8]byte
}

func (p *parser) header(f *File) (tensors, keys uint64) {
	if p.size == 0 {
		p.err = fmt.Errorf("%w: it is empty", ErrNotGGUF)
		return 0, 0
	}
	magic := p.take(4)
	if p.err != nil || string(magic) != "GGUF" {
		p.err = fmt.Errorf("%w: it begins with %q instead of \"GGUF\"", ErrNotGGUF, magic)
		return 0, 0
	}
	f.Version = p.u32()
	switch {
	case p.err != nil:
		return 0, 0
	case f.Version == 2 || f.Version == 3:
	case f.Version&0xFFFF == 0:
		p.err = fmt.Errorf("%w: big-endian file", ErrUnsupported)
		return 0, 0
	default:
		p.err = fmt.Errorf("%w: version %d (2 and 3 are known)", ErrUnsupported, f.Version)
		return 0, 0
	}
	tensors, keys = p.u64(), p.u64()
	if p.err == nil && (tensors > maxTensors || keys > maxKeys) {
		p.err = fmt.Errorf("%w: it claims %d tensors and %d metadata keys", ErrCorrupt, tensors, keys)
	}
	if p.err != nil {
		return 0, 0
	}
	return tensors, keys
}

func (p *parser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// take returns up to 8 bytes, valid until the next call.
func (p *parser) take(n int) []byte {
	b := p.buf[:n]
	clear(b)
	if p.err != nil {
		return b
	}
	if p.left < int64(n) {
		p.fail(ErrTruncated)
		return b
	}
	p.left -= int64(n)
	if _, err := io.ReadFull(p.b, b); err != nil {
		p.fail(readError(err))
	}
	return b
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

func (p *parser) u32() uint32 { return binary.LittleEndian.Uint32(p.take(4)) }
func (p *parser) u64() uint64 { return binary.LittleEndian.Uint64(p.take(8)) }

func (p *parser) str(limit uint64) string {
	n := p.u64()
	if p.err != nil {
		return ""
	}
	if n > uint64(p.left) {
		p.fail(ErrTruncated)
		return ""
	}
	if n > limit {
		p.fail(fmt.Errorf("%w: a string of %d bytes", ErrCorrupt, n))
		return ""
	}
	b := make([]byte, n)
	p.left -= int64(n)
	if _, err := io.ReadFull(p.b, b); err != nil {
		p.fail(readError(err))
	}
	return string(b)
}

var kindBytes = map[Kind]int{Uint8: 1, Int8: 1, Bool: 1, Uint16: 2, Int16: 2, Uint32: 4, Int32: 4, Float32: 4,
	Uint64: 8, Int64: 8, Float64: 8, String: 8, Array: 12}

// value reads one metadata value: integers as uint64 or int64, floats as float64.
func (p *parser) value(k Kind) any {
	switch k {
	case Uint8, Uint16, Uint32, Uint64:
		return p.bits(k)
	case Int8, Int16, Int32, Int64:
		return p.signed(k)
	case Float32:
		return float64(math.Float32frombits(p.u32()))
	case Float64:
		return math.Float64frombits(p.u64())
	case Bool:
		return p.take(1)[0] != 0
	case String:
		return p.str(maxString)
	case Array:
		return p.array()
	}
	p.fail(fmt.Errorf("%w: metadata value of type %d", ErrCorrupt, k))
	return nil
}

func (p *parser) bits(k Kind) uint64 {
	n := kindBytes[k]
	p.take(n)
	clear(p.buf[n:])
	return binary.LittleEndian.Uint64(p.buf[:])
}

func (p *parser) signed(k Kind) int64 {
	shift := 64 - 8*kindBytes[k]
	return int64(p.bits(k)<<shift) >> shift
}

// array reads a flat array: []string, []float32, []int64 or []bool.
func (p *parser) array() any {
	k, n := Kind(p.u32()), p.u64()
	size, ok := kindBytes[k]
	switch {
	case p.err != nil:
		return nil
	case !ok:
		p.fail(fmt.Errorf("%w: array of type %d", ErrCorrupt, k))
		return nil
	case k == Array:
		p.fail(fmt.Errorf("%w: array of arrays", ErrUnsupported))
		return nil
	case n > uint64(p.left)/uint64(size):
		p.fail(ErrTruncated)
		return nil
	}
	switch k {
	case String:
		return readAll(p, n, func() string { return p.str(maxString) })
	case Float32:
		return readAll(p, n, func() float32 { return math.Float32frombits(p.u32()) })
	case Float64:
		return readAll(p, n, func() float32 { return float32(math.Float64frombits(p.u64())) })
	case Bool:
		return readAll(p, n, func() bool { return p.take(1)[0] != 0 })
	case Uint8, Uint16, Uint32, Uint64:
		return readAll(p, n, func() int64 { return int64(p.bits(k)) })
	}
	return readAll(p, n, func() int64 { return p.signed(k) })
}

func readAll[T any](p *parser, n uint64, one func() T) []T {
	out := make([]T, 0, n)
	for range n {
		v := one()
		if p.err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func (p *parser) tensor() Tensor {
	t := Tensor{Name: p.str(maxKey)}
	dims := p.u32()
	if p.err == nil && dims > maxDims {
		p.fail(fmt.Errorf("%w: tensor %q has %d dimensions", ErrCorrupt, t.Name, dims))
	}
	if p.err != nil {
		return t
	}
	elements := uint64(1)
	for range dims {
		d := p.u64()
		hi, lo := bits.Mul64(elements, d)
		if d == 0 || hi != 0 || lo > math.MaxInt64/8 {
			p.fail(fmt.Errorf("%w: tensor %q has an absurd size", ErrCorrupt, t.Name))
			return t
		}
		elements = lo
		t.Dims = append(t.Dims, d)
	}
	t.Type, t.Offset = Type(p.u32()), p.u64()
	if p.err != nil {
		return t
	}
	l, ok := layouts[t.Type]
	switch {
	case !ok:
		p.fail(fmt.Errorf("%w: tensor %q has %s", ErrUnsupported, t.Name, t.Type))
	case len(t.Dims) > 0 && t.Dims[0]%uint64(l.block) != 0 || len(t.Dims) == 0 && l.block != 1:
		p.fail(fmt.Errorf("%w: rows of tensor %q do not fill blocks of %s", ErrCorrupt, t.Name, t.Type))
	}
	return t
}

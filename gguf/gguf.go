// Package gguf reads GGUF model files (versions 2 and 3, little endian), as specified in
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length in the file is checked
// against what is really there before anything is allocated, so a broken or hostile file yields an
// error, never a panic or a huge allocation.
package gguf

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Errors that are wrapped by everything this package returns.
var (
	ErrNotGGUF     = errors.New("not a GGUF file")
	ErrTruncated   = errors.New("the GGUF file is truncated (download it again)")
	ErrUnsupported = errors.New("unsupported GGUF feature")
	ErrCorrupt     = errors.New("the GGUF file is corrupt (download it again)")
)

// Kind is the type of a metadata value.
type Kind uint32

// Kinds of metadata values, as numbered in the specification.
const (
	Uint8 Kind = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
)

// Tensor describes one tensor; its data is read by File.ReadTensor.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []uint64 // innermost first: a matrix of r rows and c columns has Dims {c, r}
	Offset uint64   // from the start of the data section
}

// Elements is the product of the dimensions.
func (t Tensor) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Size is the number of bytes of the tensor's data.
func (t Tensor) Size() uint64 {
	l, ok := layouts[t.Type]
	if !ok {
		return 0
	}
	return t.Elements() / uint64(l.block) * uint64(l.bytes)
}

// File is an open GGUF file. It is safe for concurrent use once opened.
type File struct {
	Version uint32
	kv      map[string]any
	keys    []string
	tensors []Tensor
	index   map[string]int
	data    int64 // offset of the data section
	r       io.ReaderAt
	size    int64
	closer  io.Closer
}

// kindOf names what is no regular file.
func kindOf(m os.FileMode) string {
	if m.IsDir() {
		return "a directory"
	}
	return "no regular file"
}

// Open reads the metadata of a file. Close it after use.
func Open(path string) (*File, error) {
	// Before it is opened: opening a pipe waits for its writer.
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: it is %s", path, ErrNotGGUF, kindOf(st.Mode()))
	}
	h, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := h.Stat()
	var f *File
	if err == nil {
		f, err = NewReader(h, st.Size())
	}
	if err != nil {
		_ = h.Close() // it was only read
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.closer = h
	return f, nil
}

// Close closes what Open opened.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Keys lists the metadata keys in file order.
func (f *File) Keys() []string { return f.keys }

// String returns a string value.
func (f *File) String(key string) (string, bool) { return get[string](f, key) }

// Bool returns a boolean value.
func (f *File) Bool(key string) (bool, bool) { return get[bool](f, key) }

// Strings returns an array of strings; do not change it.
func (f *File) Strings(key string) ([]string, bool) { return get[[]string](f, key) }

// Floats returns an array of floating-point numbers; do not change it.
func (f *File) Floats(key string) ([]float32, bool) { return get[[]float32](f, key) }

// Ints returns an array of integers; do not change it.
func (f *File) Ints(key string) ([]int64, bool) { return get[[]int64](f, key) }

// Uint returns an integer value of any width that is not negative.
func (f *File) Uint(key string) (uint64, bool) {
	switch v := f.kv[key].(type) {
	case uint64:
		return v, true
	case int64:
		return uint64(v), v >= 0
	}
	return 0, false
}

// Float returns a floating-point or integer value.
func (f *File) Float(key string) (float64, bool) {
	switch v := f.kv[key].(type) {
	case float64:
		return v, true
	case uint64:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return 0, false
}

func get[T any](f *File, key string) (T, bool) {
	v, ok := f.kv[key].(T)
	return v, ok
}

// Tensors lists the tensors in file order.
func (f *File) Tensors() []Tensor { return f.tensors }

// Tensor returns a tensor by name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[i], true
}

// ReadTensor returns the raw data of a tensor of this file.
func (f *File) ReadTensor(t Tensor) ([]byte, error) {
	at, n := f.data+int64(t.Offset), int64(t.Size())
	if n < 0 || at < f.data || at > f.size-n {
		return nil, fmt.Errorf("tensor %s: %w", t.Name, ErrTruncated)
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
	}
	return b, nil
}

// DataOffset returns where a tensor's data begins in the file.
func (f *File) DataOffset(t Tensor) int64 { return f.data + int64(t.Offset) }

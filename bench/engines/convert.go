package engines

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/gguf"
)

// Convert writes a copy of a model whose matrices have another type, gguf.F32 or gguf.F16; vectors
// are F32, as everywhere.
func Convert(f *gguf.File, path string, to gguf.Type) error {
	if to != gguf.F32 && to != gguf.F16 {
		return fmt.Errorf("cannot convert to %s, only to F32 and F16", to)
	}
	var kvs []gguf.KV
	for _, key := range f.Keys() {
		kv, err := metadata(f, key)
		if err != nil {
			return err
		}
		kvs = append(kvs, kv)
	}
	var tensors []gguf.Data
	for _, t := range f.Tensors() {
		v, err := reference.Decode(f, t)
		if err != nil {
			return err
		}
		d := gguf.Data{Tensor: t}
		d.Type = gguf.F32
		if len(t.Dims) > 1 {
			d.Type = to
		}
		d.Raw = encode(v, d.Type)
		tensors = append(tensors, d)
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(gguf.Write(out, kvs, tensors), out.Close())
}

// metadata copies a value; integers that fit become uint32 or int32, as llama.cpp reads them.
func metadata(f *gguf.File, key string) (gguf.KV, error) {
	kv := gguf.KV{Key: key}
	if v, ok := f.String(key); ok {
		kv.Value = v
	} else if v, ok := f.Bool(key); ok {
		kv.Value = v
	} else if v, ok := f.Strings(key); ok {
		kv.Value = v
	} else if v, ok := f.Floats(key); ok {
		kv.Value = v
	} else if v, ok := f.Ints(key); ok {
		ints := make([]int32, len(v))
		for i, n := range v {
			ints[i] = int32(n)
		}
		kv.Value = ints
	} else if v, ok := f.Uint(key); ok {
		kv.Value = v
		if v <= math.MaxUint32 {
			kv.Value = uint32(v)
		}
	} else if v, ok := f.Float(key); ok {
		kv.Value = float32(v)
	} else {
		return kv, fmt.Errorf("metadata %s: %w", key, gguf.ErrUnsupported)
	}
	return kv, nil
}

func encode(v []float32, to gguf.Type) []byte {
	var raw []byte
	for _, x := range v {
		if to == gguf.F16 {
			raw = binary.LittleEndian.AppendUint16(raw, half(x))
		} else {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
	}
	return raw
}

// half rounds to the nearest IEEE 754 binary16 number, ties to even.
func half(x float32) uint16 {
	b := math.Float32bits(x)
	sign, a := uint16(b>>16&0x8000), math.Abs(float64(x))
	switch {
	case a != a:
		return sign | 0x7E00
	case a < 0x1p-14: // subnormal: steps of 2^-24
		return sign | uint16(math.RoundToEven(a*0x1p24))
	}
	frac, exp := math.Frexp(a) // a = frac * 2^exp, 0.5 <= frac < 1
	m := uint32(math.RoundToEven(frac*0x1p11)) - 0x400
	h := uint32(exp+14)<<10 + m // a carry out of m raises the exponent, as it should
	if a > math.MaxFloat32 || h >= 0x7C00 {
		return sign | 0x7C00
	}
	return sign | uint16(h)
}

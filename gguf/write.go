package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// KV is one metadata entry for Write. Value is a string, bool, uint32, int32, uint64, float32,
// []string, []float32 or []int32.
type KV struct {
	Key   string
	Value any
}

// Data is one tensor for Write: its description (Offset is ignored) and raw bytes.
type Data struct {
	Tensor
	Raw []byte
}

// Write writes a GGUF v3 file. It exists for tests and tools that make small models.
func Write(w io.Writer, kvs []KV, tensors []Data) error {
	var b bytes.Buffer
	b.WriteString("GGUF")
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a Buffer never fails
	str := func(s string) { put(uint64(len(s))); b.WriteString(s) }
	put(uint32(3))
	put(uint64(len(tensors)))
	put(uint64(len(kvs)))
	for _, kv := range kvs {
		str(kv.Key)
		if err := writeValue(kv.Value, put, str); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	offset := uint64(0)
	for _, t := range tensors {
		if uint64(len(t.Raw)) != t.Size() {
			return fmt.Errorf("tensor %s: %d bytes instead of %d", t.Name, len(t.Raw), t.Size())
		}
		str(t.Name)
		put(uint32(len(t.Dims)))
		for _, d := range t.Dims {
			put(d)
		}
		put(uint32(t.Type))
		put(offset)
		offset += pad(uint64(len(t.Raw)))
	}
	b.Write(make([]byte, pad(uint64(b.Len()))-uint64(b.Len())))
	for _, t := range tensors {
		b.Write(t.Raw)
		b.Write(make([]byte, pad(uint64(len(t.Raw)))-uint64(len(t.Raw))))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func pad(n uint64) uint64 { return (n + defaultAlignment - 1) / defaultAlignment * defaultAlignment }

func writeValue(v any, put func(any), str func(string)) error {
	array := func(k Kind, n int) { put(uint32(Array)); put(uint32(k)); put(uint64(n)) }
	switch v := v.(type) {
	case string:
		put(uint32(String))
		str(v)
	case bool:
		put(uint32(Bool))
		put(v)
	case uint32:
		put(uint32(Uint32))
		put(v)
	case int32:
		put(uint32(Int32))
		put(v)
	case uint64:
		put(uint32(Uint64))
		put(v)
	case float32:
		put(uint32(Float32))
		put(v)
	case []string:
		array(String, len(v))
		for _, s := range v {
			str(s)
		}
	case []float32:
		array(Float32, len(v))
		put(v)
	case []int32:
		array(Int32, len(v))
		put(v)
	default:
		return fmt.Errorf("%w: metadata value %T", ErrUnsupported, v)
	}
	return nil
}

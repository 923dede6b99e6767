package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"testing"
)

// A file that declares more than it holds is refused before memory for it is taken.
func TestDeclaredSizesTakeNoMemory(t *testing.T) {
	head := func(tensors, kvs uint64) *bytes.Buffer {
		b := bytes.NewBufferString("GGUF")
		for _, v := range []any{uint32(3), tensors, kvs} {
			_ = binary.Write(b, binary.LittleEndian, v) // a buffer takes everything
		}
		return b
	}
	with := func(b *bytes.Buffer, more ...any) []byte {
		for _, v := range more {
			if s, ok := v.(string); ok {
				_ = binary.Write(b, binary.LittleEndian, uint64(len(s)))
				b.WriteString(s)
				continue
			}
			_ = binary.Write(b, binary.LittleEndian, v)
		}
		return b.Bytes()
	}
	for _, huge := range []uint64{1 << 28, 1 << 40, math.MaxInt64, math.MaxUint64} {
		for name, file := range map[string][]byte{
			"tensors":           with(head(huge, 0)),
			"values":            with(head(0, huge)),
			"key":               with(head(0, 1), huge),
			"text":              with(head(0, 1), "k", uint32(8), huge),
			"array of numbers":  with(head(0, 1), "k", uint32(9), uint32(4), huge),
			"array of texts":    with(head(0, 1), "k", uint32(9), uint32(8), huge),
			"array of arrays":   with(head(0, 1), "k", uint32(9), uint32(9), huge),
			"tensor":            with(head(1, 0), "t", uint32(1), huge, uint32(0), uint64(0)),
			"dimensions":        with(head(1, 0), "t", uint32(min(huge, math.MaxUint32)), uint64(1)),
			"tensor's place":    with(head(1, 0), "t", uint32(1), uint64(1), uint32(0), huge),
			"product of ranges": with(head(1, 0), "t", uint32(4), huge, huge, huge, huge, uint32(0), uint64(0)),
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := parse(file)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 256<<10 {
				t.Errorf("%s of %d: %d bytes were taken", name, huge, took)
			}
			if err == nil {
				t.Errorf("%s of %d was taken: %v", name, huge, f.Keys())
			}
		}
	}
}

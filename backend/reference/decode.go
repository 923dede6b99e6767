package reference

import (
	"fmt"

	"github.com/outrider-llm/outrider/gguf"
)

// Decode returns a tensor's numbers, in the file's order.
func Decode(f *gguf.File, t gguf.Tensor) ([]float32, error) {
	d, bytes, elements, err := decoderOf(t.Type)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
	}
	raw, err := f.ReadTensor(t)
	if err != nil {
		return nil, err
	}
	n := int(t.Elements())
	if n%elements != 0 || len(raw) != n/elements*bytes {
		return nil, fmt.Errorf("tensor %s: %w", t.Name, gguf.ErrCorrupt)
	}
	out := make([]float32, n)
	d(out, raw)
	return out, nil
}

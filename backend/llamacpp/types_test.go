//go:build verify

package llamacpp

import (
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/gguf"
)

// The GGUF reader knows every tensor type that this version of the library has, by name and size.
func TestTensorTypesAreTheLibrarys(t *testing.T) {
	engine(t, small)
	known := 0
	for i := range llama.GGMLTypeCOUNT {
		block, size := llama.GGMLBlockSize(i), llama.GGMLTypeSize(i)
		if block == 0 || size == 0 || i == llama.GGMLTypeQ8_1 { // removed, or not for files
			continue
		}
		known++
		tensor := gguf.Tensor{Type: gguf.Type(i), Dims: []uint64{uint64(block), 3}}
		if name := llama.GGMLTypeName(i); !strings.EqualFold(tensor.Type.String(), name) || tensor.Size() != 3*size {
			t.Errorf("type %d is %s, %d bytes for %d; the library has %s, %d bytes", i, tensor.Type, tensor.Size()/3, block, name, size)
		}
	}
	if known < 30 {
		t.Fatalf("only %d types", known)
	}
}

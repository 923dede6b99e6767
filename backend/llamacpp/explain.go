package llamacpp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/outrider-llm/outrider/backend/llamacpp/library"
)

// hints say what to do about what llama.cpp logs; the first that fits counts. VERSION is the
// library's, ARCHITECTURE the model's.
var hints = []struct {
	marks []string // in lower case
	text  string
}{
	{[]string{"unknown model architecture"}, "llama.cpp VERSION does not know the architecture ARCHITECTURE: take another model, or a release of outrider for a newer llama.cpp " +
		"(this one is made for v" + library.Version + ")"},
	{[]string{"unknown pre-tokenizer"}, "llama.cpp VERSION does not know how this model's text is split: take another model, or a release of outrider for a newer llama.cpp"},
	{[]string{"compute buffers", "compute pp buffers", "compute tg buffers"}, "there is not enough memory for its passes: lower batch or kv_tokens, or gpu_layers when a GPU is full"},
	{[]string{"kv cache", "rs cache"}, "there is not enough memory for its KV cache: lower kv_tokens or context, or set kv_type_k and kv_type_v to q8_0"},
	{[]string{"out of memory", "failed to allocate", "unable to allocate", "insufficient memory"},
		"there is not enough memory for it: take a smaller quantisation, lower gpu_layers when a GPU is full, or end other programs"},
	{[]string{"missing tensor", "wrong shape", "wrong number of tensors", "is not within the file bounds", "invalid data", "key not found", "has wrong type"},
		"the file is damaged, or not made for llama.cpp VERSION: fetch it again, or take another conversion of the model"},
}

// explain makes one helpful line of what llama.cpp logged.
func explain(err error, logged string, d description, lib *Library) error {
	first, low := logged, strings.ToLower(logged)
	if i := strings.Index(logged, "; "); i >= 0 { // the first error is the cause, the rest its consequences
		first = logged[:i]
	}
	for _, h := range hints {
		for _, m := range h.marks {
			if strings.Contains(low, m) {
				text := strings.NewReplacer("VERSION", lib.Version, "ARCHITECTURE", strconv.Quote(d.architecture)).Replace(h.text)
				return fmt.Errorf("%w: %s (%s)", err, text, first)
			}
		}
	}
	if logged != "" {
		return fmt.Errorf("%w: %s", err, logged)
	}
	return err
}

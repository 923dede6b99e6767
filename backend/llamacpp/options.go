package llamacpp

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"
)

// options are the engine's settings; 0 stands for the default unless said otherwise.
type options struct {
	threads, context, kvTokens, sequences, batch int
	gpuLayers                                    int // -1: all
	mainGPU                                      int // -1: several share the model
	split                                        []float32
	flash                                        llama.FlashAttentionType
	typeK, typeV                                 llama.GGMLType
	lib                                          string
}

const (
	defaultSequences = 64
	maxSequences     = 192 // of the 256 that llama.cpp has; trees need the rest for their branches
	defaultBatch     = 512
)

// cacheTypes are the types that the KV cache can have, by llama.cpp's names.
var cacheTypes = map[string]llama.GGMLType{"f32": llama.GGMLTypeF32, "f16": llama.GGMLTypeF16, "bf16": llama.GGMLTypeBF16,
	"q8_0": llama.GGMLTypeQ8_0, "q5_1": llama.GGMLTypeQ5_1, "q5_0": llama.GGMLTypeQ5_0, "q4_1": llama.GGMLTypeQ4_1,
	"q4_0": llama.GGMLTypeQ4_0, "iq4_nl": llama.GGMLTypeIQ4_NL}

// bytesPerThread is how many bytes of weights a thread should have: with less, waiting for the others
// at the end of each operation costs more than it saves, above all when another process uses the cores.
const bytesPerThread = 8 << 20

// defaultThreads is the number for a model of a size; it does not depend on measurements, so that a
// restarted plugin has the same.
func defaultThreads(weights uint64, cores int) int {
	return int(min(1+weights/bytesPerThread, uint64(cores)))
}

// parseOptions reads the options and fills in the defaults, except for those that depend on the model.
func parseOptions(opts map[string]string) (options, error) {
	o := options{sequences: defaultSequences, batch: defaultBatch, gpuLayers: -1, mainGPU: -1,
		flash: llama.FlashAttentionTypeAuto, typeK: llama.GGMLTypeF16, typeV: llama.GGMLTypeF16}
	number := func(to *int, low, high int) func(string) error {
		return func(s string) error {
			v, err := strconv.Atoi(s)
			if err != nil || v < low || v > high {
				return fmt.Errorf("must be a number from %d to %d", low, high)
			}
			*to = v
			return nil
		}
	}
	cache := func(to *llama.GGMLType) func(string) error {
		return func(s string) error {
			t, ok := cacheTypes[strings.ToLower(s)]
			if !ok {
				return fmt.Errorf("must be one of %s", strings.Join(slices.Sorted(maps.Keys(cacheTypes)), ", "))
			}
			*to = t
			return nil
		}
	}
	known := map[string]func(string) error{
		"threads": number(&o.threads, 1, 1024), "context": number(&o.context, 1, 1<<24), "kv_tokens": number(&o.kvTokens, 1, 1<<28),
		"sequences": number(&o.sequences, 1, maxSequences), "batch": number(&o.batch, 1, 1<<16),
		"main_gpu": number(&o.mainGPU, 0, 1023), "kv_type_k": cache(&o.typeK), "kv_type_v": cache(&o.typeV),
		"lib": func(s string) error { o.lib = s; return nil },
		"gpu_layers": func(s string) error {
			if s == "all" {
				o.gpuLayers = -1
				return nil
			}
			if number(&o.gpuLayers, 0, 1<<16)(s) != nil {
				return fmt.Errorf("must be all or a number of layers")
			}
			return nil
		},
		"flash_attention": func(s string) error { return o.flashAttention(s) },
		"tensor_split":    func(s string) error { return o.tensorSplit(s) },
	}
	for key, value := range opts {
		set := known[key]
		if set == nil {
			return o, fmt.Errorf("option %q is unknown (the llamacpp engine has %s)", key, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if err := set(strings.TrimSpace(value)); err != nil {
			return o, fmt.Errorf("option %s is %q, %w", key, value, err)
		}
	}
	return o, nil
}

func (o *options) flashAttention(s string) error {
	switch s {
	case "auto":
		o.flash = llama.FlashAttentionTypeAuto
	case "on":
		o.flash = llama.FlashAttentionTypeEnabled
	case "off":
		o.flash = llama.FlashAttentionTypeDisabled
	default:
		return fmt.Errorf("must be auto, on or off")
	}
	return nil
}

// tensorSplit reads the shares of the devices, such as 3,1.
func (o *options) tensorSplit(s string) error {
	o.split = nil
	sum := 0.0
	for part := range strings.SplitSeq(s, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 32)
		if err != nil || !(v >= 0 && v < 1e6) {
			return fmt.Errorf("must be the shares of the GPUs, such as 3,1")
		}
		sum += v
		o.split = append(o.split, float32(v))
	}
	if sum == 0 {
		return fmt.Errorf("must give some GPU a share")
	}
	return nil
}

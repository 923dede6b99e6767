//go:build verify

package llamacpp

import (
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
)

func TestFreeMemory(t *testing.T) {
	const kb = 1 << 10
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  uint64
	}{
		{"unknown", nil, 0},
		{"machine", map[string]string{"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   7 kB\n"}, 7 * kb},
		{"strange", map[string]string{"/proc/meminfo": "MemAvailable:\nMemAvailable: many kB", "/sys/fs/cgroup/memory.max": ""}, 0},
		{"container", map[string]string{"/proc/meminfo": "MemAvailable: 7 kB\n", "/sys/fs/cgroup/memory.max": "5120\n", "/sys/fs/cgroup/memory.current": "4096\n",
			"/sys/fs/cgroup/memory.stat": "anon 2\ninactive_file 1000\n"}, 2024},
		{"container without limit", map[string]string{"/proc/meminfo": "MemAvailable: 7 kB\n", "/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "4096\n"}, 7 * kb},
		{"version 1, full", map[string]string{"/sys/fs/cgroup/memory/memory.limit_in_bytes": "100\n", "/sys/fs/cgroup/memory/memory.usage_in_bytes": "200\n"}, 1},
		{"version 1 without limit", map[string]string{"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "/sys/fs/cgroup/memory/memory.usage_in_bytes": "200\n"}, 0},
	} {
		got := freeMemory(func(f string) ([]byte, error) {
			if s, ok := tc.files[f]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		})
		if got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// What llama.cpp logs becomes one line that says what to do.
func TestExplanations(t *testing.T) {
	lib, d := &Library{Version: "0.5.0-dev"}, description{architecture: "tomorrow"}
	for logged, want := range map[string]string{
		"llama_model_load: error loading model: unknown model architecture: 'tomorrow'":           `llama.cpp 0.5.0-dev does not know the architecture "tomorrow": take another`,
		"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9 MiB on device 0: out of memory": "smaller quantisation, lower gpu_layers",
		"alloc: failed to allocate buffer; x: failed to allocate buffer for kv cache":             "lower kv_tokens or context",
		"graph_reserve: failed to allocate compute buffers":                                       "lower batch",
		"missing tensor 'blk.0.attn_q.weight'":                                                    "fetch it again",
		"unknown pre-tokenizer type: 'x'":                                                         "text is split",
	} {
		err := explain(backend.ErrLoad, logged, d, lib)
		first, _, _ := strings.Cut(logged, ";")
		if !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), first) {
			t.Errorf("%s: %v", logged, err)
		}
	}
	if err := explain(backend.ErrLoad, "", d, lib); err.Error() != backend.ErrLoad.Error() {
		t.Error(err)
	}
}

// Whatever a file holds, the host lives, and its error is one line.
func TestBrokenFilesDoNotHurtTheHost(t *testing.T) {
	opts := makeOptions(t)
	whole, _ := models.Embedded(small)
	rng := rand.New(rand.NewPCG(7, 7))
	path := filepath.Join(t.TempDir(), "broken.gguf")
	refused := 0
	for i := range 24 {
		data := append([]byte(nil), whole...)
		switch {
		case i < 6: // cut off
			data = data[:rng.IntN(len(data))]
		case i < 18: // in the header: names, sizes, types
			data[rng.IntN(3000)] ^= byte(1 << rng.IntN(8))
		default: // near the end of it: tensors
			for range 8 {
				data[len(data)/20+rng.IntN(2000)] = byte(rng.IntN(256))
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := backend.Launch(t.Context(), backend.HostConfig{Name: "broken", Args: []string{"plugin"}, Model: path, Options: opts,
			Env: []string{"GGML_NO_BACKTRACE=1"}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			refused++
			t.Logf("%d: %v", i, err)
			if !errors.Is(err, backend.ErrLoad) && !errors.Is(err, backend.ErrUnavailable) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		_ = h.Close()
	}
	if refused < 6 {
		t.Errorf("only %d of 24 broken files were refused", refused)
	}
}

package llamacpp

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"
)

// fits refuses a KV cache that the machine's memory does not hold: systems that promise more than they
// have would let the allocation pass and kill the process when it is used. GPUs tell by themselves.
func (e *Engine) fits(d description, lib *Library) error {
	free := freeMemory(os.ReadFile)
	if free == 0 || offloads(e.options, lib) {
		return nil
	}
	row := uint64(max(1, e.rowBytes(d)))
	if need := uint64(e.rows) * row; need > free {
		return fmt.Errorf("its KV cache of %d rows would take %s, %s of memory are free: set kv_tokens to %d or less, or kv_type_k and kv_type_v to q8_0",
			e.rows, gibibytes(need), gibibytes(free), free/row*3/4)
	}
	if weights := llama.ModelSize(e.model); weights > free {
		slog.Warn("the model is larger than the free memory, so it is read from the disk over and over: take a smaller quantisation",
			"size", gibibytes(weights), "free", gibibytes(free))
	}
	return nil
}

func gibibytes(n uint64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// freeMemory is how many bytes this process may still use, 0 where that is not known (outside Linux).
func freeMemory(read func(string) ([]byte, error)) uint64 {
	const unlimited = 1 << 50 // what control groups without a limit tell is larger
	value := func(file, key string) (uint64, bool) { return field(read, file, key) }
	free := uint64(unlimited)
	if n, ok := value("/proc/meminfo", "MemAvailable:"); ok && n < unlimited>>10 {
		free = n << 10
	}
	for _, group := range [][3]string{ // a container's limit, version 2 and 1
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat"},
	} {
		limit, limited := value(group[0], "")
		used, known := value(group[1], "")
		if limited && known && limit < unlimited {
			files, _ := value(group[2], "inactive_file") // cached, given up on demand; 0 if unknown
			free = min(free, limit-min(used-min(files, used), limit))
		}
	}
	if free == unlimited {
		return 0
	}
	return max(free, 1)
}

// field is the number that follows key at the beginning of a line.
func field(read func(string) ([]byte, error), file, key string) (uint64, bool) {
	b, err := read(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		v, ok := strings.CutPrefix(line, key)
		if f := strings.Fields(v); ok && len(f) > 0 {
			n, err := strconv.ParseUint(f[0], 10, 64)
			return n, err == nil // "max": no limit
		}
	}
	return 0, false
}

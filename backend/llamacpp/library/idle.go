package library

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// needs are the backends for GPUs, by what llama.cpp's files are called, with what they take from the system.
var needs = []struct{ backend, what string }{
	{"cuda", "NVIDIA's driver (libcuda.so.1) and CUDA's runtime (libcudart and libcublas; for the installed libraries those of CUDA 13)"},
	{"vulkan", "a Vulkan driver and its loader (libvulkan.so.1)"},
	{"cann", "the Ascend driver and the CANN toolkit"},
	{"hip", "ROCm"},
	{"sycl", "the oneAPI runtime and Intel's driver"},
	{"opencl", "an OpenCL driver"},
	{"metal", "an Apple GPU"},
}

// Idle says which backend for GPUs lies in the folder although no device but the CPU was found, and what to do; llama.cpp itself
// says nothing then and takes the CPU. It is "" when there is nothing to say.
func Idle(dir string, devices []Device) string {
	if slices.ContainsFunc(devices, func(d Device) bool { return d.Kind != "CPU" && d.Kind != "ACCEL" }) {
		return ""
	}
	for _, n := range needs {
		for _, pattern := range []string{"libggml-" + n.backend + ".*", "ggml-" + n.backend + ".dll"} {
			found, _ := filepath.Glob(filepath.Join(escape(dir), pattern)) // the pattern is well-formed
			if len(found) == 0 {
				continue
			}
			ldd := ""
			if strings.HasSuffix(found[0], ".so") {
				ldd = fmt.Sprintf(" (`ldd %s | grep 'not found'` names what is missing)", found[0])
			}
			return fmt.Sprintf("no GPU is used: %s is there but finds no device; it needs %s%s", filepath.Base(found[0]), n.what, ldd)
		}
	}
	return ""
}

// escape keeps a folder's name from being read as a pattern.
func escape(dir string) string {
	if os.PathSeparator == '\\' { // where a backslash separates, nothing can be escaped
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

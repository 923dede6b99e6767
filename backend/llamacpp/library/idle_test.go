package library

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIdle(t *testing.T) {
	cpu := []Device{{Name: "CPU", Kind: "CPU"}}
	gpu := append(cpu, Device{Name: "CUDA0", Kind: "GPU"})
	folder := func(files ...string) string {
		dir := filepath.Join(t.TempDir(), "lib[1]")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	plain, cuda := folder("libggml-cpu-x64.so", "libllama.so"), folder("libggml-cpu-x64.so", "libggml-cuda.so")
	for _, c := range []struct {
		name, dir string
		devices   []Device
		want      string
	}{
		{"no backend for GPUs", plain, cpu, ""},
		{"a GPU is used", cuda, gpu, ""},
		{"CUDA without a device", cuda, cpu, "libcudart"},
		{"Vulkan without a device", folder("libggml-vulkan.so"), cpu, "libvulkan.so.1"},
	} {
		got := Idle(c.dir, c.devices)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q in it", c.name, got, c.want)
		}
	}
}

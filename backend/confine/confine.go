// Package confine starts programs with less than this process may do: files by Landlock, system calls by
// seccomp, both of the Linux kernel. What a kernel lacks is left out and told.
package confine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Policy is what a confined program may do beside computing, using what it was handed, and talking to this process.
// Paths that do not exist are ignored; a folder stands for all below it. Programs that it starts are confined, too.
type Policy struct {
	Read    []string // files and folders that it may read and run
	Write   []string // and those that it may change as well
	Devices []string // device nodes that it may use
	Network bool     // internet sockets
}

// Applied is what the kernel enforces.
type Applied struct {
	Landlock int  // ABI version; 0: files are not confined
	Seccomp  bool // system calls are
	// Lacking says why something is missing, for people; empty when nothing is.
	Lacking string
}

// String is for logs: "landlock 7, seccomp".
func (a Applied) String() string {
	var parts []string
	if a.Landlock > 0 {
		parts = append(parts, fmt.Sprintf("landlock %d", a.Landlock))
	}
	if a.Seccomp {
		parts = append(parts, "seccomp")
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// System returns what every program needs to run: the system's programs, libraries and device files, those of GPU
// and NPU drivers included. It holds nobody's data, and of /etc only what libraries read.
func System() Policy {
	return Policy{
		Read: expand("/usr", "/bin", "/sbin", "/lib*", "/proc", "/sys",
			"/opt/rocm*", "/opt/amdgpu*", "/opt/intel", "/opt/cuda*", "/opt/nvidia", "/nix/store", "/gnu/store", "/run/opengl-driver*", "/run/current-system/sw",
			"/etc/ld.so.*", "/etc/alternatives", "/etc/localtime", "/etc/locale*", "/etc/default/locale", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group",
			"/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/run/systemd/resolve", "/etc/gai.conf", "/etc/services", "/etc/protocols",
			"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/etc/ca-certificates", "/etc/crypto-policies",
			"/etc/OpenCL", "/etc/vulkan", "/etc/glvnd", "/etc/nvidia*", "/etc/nv_tegra_release", "/etc/ascend_install.info", "/etc/python3*", "/etc/fonts"),
		Devices: expand("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
			"/dev/nvidia*", "/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu", "/dev/nvsciipc", // NVIDIA, Jetson
			"/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/accel", // AMD, Intel, Windows' Linux, NPUs
			"/dev/davinci*", "/dev/devmm_svm", "/dev/hisi_hdc", // Ascend
			"/dev/mali*", "/dev/kgsl*", "/dev/adsprpc*", "/dev/fastrpc*", "/dev/dma_heap", "/dev/ion"), // phones and boards
	}
}

// expand lists the files that patterns stand for.
func expand(patterns ...string) []string {
	var out []string
	for _, p := range patterns {
		found, _ := filepath.Glob(p) // they are well-formed
		out = append(out, found...)
	}
	return out
}

// Program returns what running a program takes: its file and what lies beside it; of a Python environment also its
// libraries.
func Program(path string) []string {
	var out []string
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	for _, p := range []string{path, real} {
		dir := filepath.Dir(p)
		out = append(out, dir)
		above := filepath.Dir(dir)
		if len(expand(escape(above)+"/pyvenv.cfg", escape(above)+"/lib/python3*")) > 0 {
			out = append(out, above)
		}
	}
	return out
}

// Split returns a model file with its other parts, where it is one of several (NAME-00001-of-00003.gguf).
func Split(file string) []string {
	const tail = "-00000-of-00000.gguf" // the shape
	at := len(file) - len(tail)
	if at < 0 || !strings.HasSuffix(file, ".gguf") || file[at] != '-' || file[at+6:at+10] != "-of-" {
		return []string{file}
	}
	return append(expand(escape(file[:at])+"-[0-9][0-9][0-9][0-9][0-9]"+escape(file[at+6:])), file)
}

// escape keeps a name from being read as a pattern.
func escape(name string) string {
	if runtime.GOOS == "windows" { // where nothing can be escaped
		return name
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// Named returns the existing files and folders that arguments and values of options name; those relative to dir count
// where they have a separator. The root is none of them.
func Named(dir string, texts ...string) []string {
	var out []string
	for _, t := range texts {
		if _, value, ok := strings.Cut(t, "="); ok && strings.HasPrefix(t, "-") { // --flag=path
			t = value
		}
		if !strings.ContainsRune(t, filepath.Separator) {
			continue
		}
		if !filepath.IsAbs(t) {
			t = filepath.Join(dir, t)
		}
		if t = filepath.Clean(t); t == string(filepath.Separator) {
			continue
		}
		if _, err := os.Stat(t); err == nil {
			out = append(out, Split(t)...)
		}
	}
	return out
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp/library"
)

// llamacppPlugin is the program that runs models with llama.cpp: this one cannot, being static.
const llamacppPlugin = "outrider-llamacpp"

// findLlamacpp returns the path of the plugin: beside this program, or on the PATH.
func findLlamacpp() (string, error) {
	name := llamacppPlugin
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	self, err := os.Executable()
	if err == nil {
		p := filepath.Join(filepath.Dir(self), name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() {
			return p, nil
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("the program %s, which runs models with llama.cpp, is neither beside %s nor on the PATH (in a checkout: make build)",
			llamacppPlugin, filepath.Base(self))
	}
	return filepath.Abs(p)
}

// passed are the variables that llama.cpp's libraries and the drivers below them depend on; a plugin
// inherits nothing that it is not given.
var passed = []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "ASCEND_", "VK_", "GGML_",
	"ONEAPI_", "ZE_", "OMP_", "ADSP_LIBRARY_PATH", "OCL_", "HOME=", "XDG_RUNTIME_DIR", "PATH=", "TMPDIR", "TEMP=", "TMP=", "SystemRoot", "LOCALAPPDATA"}

func llamacppEnv(environ []string) []string {
	env := []string{"GGML_NO_BACKTRACE=1"} // it would start a debugger when it aborts
	for _, kv := range environ {
		for _, p := range passed {
			if strings.HasPrefix(kv, p) {
				env = append(env, kv)
				break
			}
		}
	}
	return env
}

// llamacppHost fills in how to launch the llama.cpp engine.
func (m ModelConfig) llamacppHost(h *backend.HostConfig) error {
	var err error
	if h.Command, err = findLlamacpp(); err != nil {
		return err
	}
	found, err := library.Host().Find(m.Options["lib"])
	if err != nil {
		return err
	}
	h.Options = maps.Clone(m.Options)
	if h.Options == nil {
		h.Options = map[string]string{}
	}
	if h.Options["lib"], err = filepath.Abs(found.Dir); err != nil {
		return err
	}
	h.Args, h.Env = m.Args, append(llamacppEnv(os.Environ()), m.Env...)
	return nil
}

// llamacppReport asks the plugin what it makes of the libraries.
func llamacppReport(ctx context.Context, lib string) (library.Report, error) {
	plugin, err := findLlamacpp()
	if err != nil {
		return library.Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	args := []string{"doctor", "--json"}
	if lib != "" {
		args = append(args, "--lib", lib)
	}
	cmd := exec.CommandContext(ctx, plugin, args...)
	cmd.Env = append(os.Environ(), "GGML_NO_BACKTRACE=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var r library.Report
	if e := json.Unmarshal(out, &r); e == nil {
		return r, nil // with an exit status when the libraries cannot be used
	}
	text := oneLine(errors.New(stderr.String()))
	switch {
	case strings.Contains(text, "libffi"):
		return r, fmt.Errorf("%s needs libffi: install it (Debian: apt-get install libffi8)", plugin)
	case len(text) > 300:
		text = text[:300]
	}
	if err == nil {
		err = errors.New("it says nothing")
	}
	return r, fmt.Errorf("%s failed: %w: %s", plugin, err, text)
}

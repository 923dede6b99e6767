package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/outrider-llm/outrider/backend/confine"
)

// confined is the policy of a plugin that is not to be free.
func confined(sandbox string, read, write []string, network bool) *confine.Policy {
	if sandbox == "off" {
		return nil
	}
	return &confine.Policy{Read: read, Write: write, Network: network}
}

// sandboxError checks a setting sandbox.
func sandboxError(what, sandbox string) error {
	switch sandbox {
	case "", "on", "off":
		return nil
	}
	return usagef("%s: sandbox is %q, must be on or off", what, sandbox)
}

// driverCaches are where GPU drivers keep what they have compiled; without them each start compiles it anew.
func driverCaches() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	return []string{os.Getenv("CUDA_CACHE_PATH"), filepath.Join(home, ".nv"), filepath.Join(home, ".cache", "mesa_shader_cache"),
		filepath.Join(home, ".cache", "mesa_shader_cache_db"), filepath.Join(home, ".cache", "nvidia"), filepath.Join(home, ".cache", "neo_compiler_cache")}
}

// sandboxReport prints what plugins are kept from here.
func sandboxReport(cfg *Config, models []configuredModel, w io.Writer) {
	a := confine.Support()
	fmt.Fprintf(w, "sandbox\n  %-11s %s\n", "kernel", a)
	if a.Lacking != "" {
		fmt.Fprintf(w, "  %-11s %s: plugins run with less of it, or none\n", "lacking", a.Lacking)
	}
	for _, m := range models {
		if m.Sandbox == "off" {
			fmt.Fprintf(w, "  %-11s %s %s (sandbox: off): its plugin may do what this user may\n", "off for", m.role, m.label())
		}
	}
	if !cfg.Perception.off() && cfg.Perception.Sandbox == "off" {
		fmt.Fprintf(w, "  %-11s perception (sandbox: off)\n", "off for")
	}
}

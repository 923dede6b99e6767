package backend

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/backend/confine"
)

// policy is what a plugin may do: run its program with its model and with what the configuration names, change its
// own folder and the socket's, and what Confine adds. nil: it is not confined.
func (c *HostConfig) policy(program string) *confine.Policy {
	if c.Confine == nil {
		return nil
	}
	p := confine.System()
	p.Network = c.Confine.Network
	p.Devices = append(p.Devices, c.Confine.Devices...)
	p.Read = append(p.Read, program)
	if c.Command != "" { // a built-in engine needs nothing of what lies beside this program
		p.Read = append(p.Read, confine.Program(program)...)
	}
	dir := c.Dir
	if dir == "" {
		dir = "."
	} else {
		p.Write = append(p.Write, dir)
	}
	if model := c.modelPath(); model != "" {
		if _, err := os.Stat(model); err == nil {
			p.Read = append(p.Read, confine.Split(model)...)
		}
	}
	p.Read = append(p.Read, confine.Named(dir, c.Args...)...)
	for _, v := range c.Options {
		p.Read = append(p.Read, confine.Named(dir, v)...)
	}
	for _, kv := range c.Env {
		if name, value, _ := strings.Cut(kv, "="); !slices.Contains(personal, name) {
			p.Read = append(p.Read, confine.Named(dir, filepath.SplitList(value)...)...)
		}
	}
	p.Read, p.Write = append(p.Read, c.Confine.Read...), append(p.Write, c.Confine.Write...)
	return &p
}

// personal are the variables that name folders which are not the plugin's.
var personal = []string{"HOME", "PWD", "OLDPWD", "TMPDIR", "TMP", "TEMP", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"}

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// builtin says that an engine is part of this program.
func builtin(engine string) bool { return engine == "reference" || engine == "mock" || remote(engine) }

// remote says that an engine is a server elsewhere: its model is an address, its tokenizer a file.
func remote(engine string) bool { return engine == "vllm" || engine == "sglang" }

// settleRemote puts the tokenizer where both the plugin and this program look for it.
func (m *ModelConfig) settleRemote() error {
	if m.Tokenizer == "" {
		m.Tokenizer = m.Options["tokenizer"]
	}
	switch {
	case m.Model == "":
		return usagef("engine %s: no server is set: give its address as the model, such as --model http://127.0.0.1:8000", m.Engine)
	case m.Tokenizer == "":
		return usagef("engine %s: the tokenizer is missing: give a GGUF file of the model (its vocabulary is enough) by --option tokenizer=FILE", m.Engine)
	}
	return nil
}

// host describes how to launch the model's plugin.
func (m ModelConfig) host(role string, log *slog.Logger) (backend.HostConfig, error) {
	h := backend.HostConfig{Name: role, Model: m.Model, Options: m.Options, Env: m.Env, SHA256: m.SHA256, Dir: m.Dir, User: m.User, Logger: log}
	switch {
	case m.Engine == "" || builtin(m.Engine):
		engine := m.Engine
		if engine == "" {
			engine = "reference"
		}
		if len(m.Args) > 0 || m.SHA256 != "" {
			return h, usagef("%s: args and sha256 are for plugin binaries, not for the built-in engine %s", role, engine)
		}
		h.Args = []string{"plugin", engine}
		if remote(engine) {
			h.Options = maps.Clone(m.Options)
			if h.Options == nil {
				h.Options = map[string]string{}
			}
			h.Options["tokenizer"] = m.Tokenizer
		}
	case m.Engine == "llamacpp":
		if err := m.llamacppHost(&h); err != nil {
			return h, fmt.Errorf("%s: %w", role, err)
		}
	default:
		if !strings.ContainsAny(m.Engine, `/\`) {
			return h, usagef("%s: no engine %q: use reference, llamacpp, vllm, sglang, mock, or the path of a plugin binary (./%s if it lies in this folder)",
				role, m.Engine, m.Engine)
		}
		h.Command, h.Args = m.Engine, m.Args
	}
	if m.Engine == "mock" && m.Model == "" {
		h.Model = "mock" // it has no file
	}
	if h.Model == "" {
		return h, usagef("%s: no model is set: name a GGUF file or %s", role, strings.Join([]string{models.TargetName, models.DraftName}, ", "))
	}
	return h, nil
}

// launch starts the model's plugin and waits until the model is loaded.
func (m ModelConfig) launch(ctx context.Context, role string, log *slog.Logger) (*backend.Host, error) {
	return m.launchTelling(ctx, role, log, func(float32) {})
}

// launchTelling is launch that also tells the progress, 0 to 1.
func (m ModelConfig) launchTelling(ctx context.Context, role string, log *slog.Logger, progress func(float32)) (*backend.Host, error) {
	h, err := m.host(role, log)
	if err != nil {
		return nil, err
	}
	show := newLoading(role, log)
	h.Progress = func(done float32) {
		show.report(done)
		progress(done)
	}
	defer footOf(log).set("") // a load that failed leaves it
	return backend.Launch(ctx, h)
}

// pace parses "40ms+0.3ms": step and position.
func (m ModelConfig) pace() (step, position time.Duration, err error) {
	if m.Pace == "" || m.Pace == "off" {
		return 0, 0, nil
	}
	a, b, two := strings.Cut(m.Pace, "+")
	step, err = time.ParseDuration(strings.TrimSpace(a))
	if err == nil && two {
		position, err = time.ParseDuration(strings.TrimSpace(b))
	}
	if err != nil || step < 0 || position < 0 {
		return 0, 0, usagef("pace is %q, must be off or the cost of a step and of a row such as 40ms+0.3ms", m.Pace)
	}
	return step, position, nil
}

// openGGUF opens a model file, or an embedded model by name. Close it after use.
func openGGUF(name string) (*gguf.File, error) {
	if b, ok := models.Embedded(name); ok {
		return gguf.NewReader(bytes.NewReader(b), int64(len(b)))
	}
	if _, err := os.Stat(name); os.IsNotExist(err) {
		return nil, fmt.Errorf("no model file %s, and no embedded model of that name (embedded: %s, %s)", name, models.TargetName, models.DraftName)
	}
	return gguf.Open(name)
}

// tokenizer returns the model's tokenizer, nil when the mock engine runs it, which has no text.
func (m ModelConfig) tokenizer() (*tokenizer.Tokenizer, error) {
	name := m.Tokenizer
	if name == "" {
		if m.Engine == "mock" {
			return nil, nil
		}
		name = m.Model
	}
	return readTokenizer(name)
}

// packed returns the model's tokenizer for edges to fetch, nil for the mock engine.
func (m ModelConfig) packed() (*tokenizer.Packed, error) {
	name := m.Tokenizer
	if name == "" {
		name = m.Model
	}
	if m.Engine == "mock" {
		return nil, nil
	}
	f, err := openGGUF(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	p, err := tokenizer.Pack(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func readTokenizer(name string) (*tokenizer.Tokenizer, error) {
	f, err := openGGUF(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	t, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// label is the model's name for people.
func (m ModelConfig) label() string {
	if m.Name != "" {
		return m.Name
	}
	if m.Model == "" {
		return m.Engine
	}
	return strings.TrimSuffix(filepath.Base(m.Model), ".gguf")
}

// vocabulary returns the tokenizer to use, or, with learn, to begin with until the cloud has told the
// target's. One that the configuration names is used as it is; so is that of a mock draft, which has
// no text of its own.
func (c *EdgeConfig) vocabulary() (tok *tokenizer.Tokenizer, learn bool, err error) {
	m := c.Draft
	learn = m.Tokenizer == ""
	switch {
	case learn && m.Model == "none":
		return nil, true, nil
	case learn && m.Engine == "mock":
		m.Tokenizer, learn = models.DraftName, false
	}
	tok, err = m.tokenizer()
	return tok, learn, err
}

// cache is the folder that keeps the tokenizers of targets, empty when there is none.
func (c *EdgeConfig) cache(log *slog.Logger) string {
	switch c.Cache {
	case "none":
		return ""
	case "":
	default:
		return c.Cache
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		log.Warn("no folder to keep the target's tokenizer in, it is fetched at each start: set edge.cache", "error", err)
		return ""
	}
	return filepath.Join(dir, "outrider", "tokenizers")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/perception"
	"github.com/outrider-llm/outrider/perception/local"
	"github.com/outrider-llm/outrider/perception/media"
	"github.com/outrider-llm/outrider/perception/openaihttp"
)

// PerceptionConfig says what hears, speaks and reads on this device.
type PerceptionConfig struct {
	Engine  string            `koanf:"engine" doc:"what hears, speaks and reads: off, local (Debian's programs), openai-http (whisper-server, piper, vision models), or the path of a plugin binary (perception.md)"`
	Args    []string          `koanf:"args" doc:"of the plugin binary"`
	Env     []string          `koanf:"env" doc:"KEY=VALUE for the plugin, which inherits nothing else but PATH"`
	SHA256  string            `koanf:"sha256" doc:"of the plugin binary, checked before it runs"`
	Options map[string]string `koanf:"options" doc:"of the engine, by name; values are text (perception.md)"`
}

// maxMediaBody bounds a request with images and recordings, in bytes.
const maxMediaBody = 48 << 20

// perceptionEngines are the built-in ones, by name.
func perceptionEngines() map[string]perception.Opener {
	return map[string]perception.Opener{"local": local.Open, "openai-http": openaihttp.Open}
}

func (c *PerceptionConfig) off() bool { return c.Engine == "" || c.Engine == "off" }

// host says how its plugin runs.
func (c *PerceptionConfig) host(log *slog.Logger) (backend.HostConfig, error) {
	h := backend.HostConfig{Name: "perception", Env: append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, c.Env...), SHA256: c.SHA256,
		Options: c.Options, Logger: log}
	_, builtin := perceptionEngines()[c.Engine]
	switch {
	case builtin && (len(c.Args) > 0 || c.SHA256 != ""):
		return h, usagef("perception.args and perception.sha256 are for plugin binaries, not for the built-in engine %s", c.Engine)
	case builtin:
		h.Args = []string{"plugin", "perception-" + c.Engine}
	case strings.ContainsAny(c.Engine, `/\`):
		h.Command, h.Args = c.Engine, c.Args
	default:
		return h, usagef("perception.engine is %q, must be off, local, openai-http or the path of a plugin binary", c.Engine)
	}
	return h, nil
}

// launch starts the plugin; nil when perception is off.
func (c *PerceptionConfig) launch(ctx context.Context, log *slog.Logger) (*perception.Host, error) {
	if c.off() {
		return nil, nil
	}
	h, err := c.host(log)
	if err != nil {
		return nil, err
	}
	p, err := perception.Launch(ctx, h)
	switch {
	case errors.Is(err, media.ErrMedia): // an option
		return nil, usagef("perception: %s", strings.TrimPrefix(err.Error(), "perception: "+media.ErrMedia.Error()+": "))
	case err != nil:
		return nil, err
	}
	for _, m := range p.Abilities().Missing {
		log.Warn("perception is incomplete", "missing", m)
	}
	return p, nil
}

// perceptionReport prints what works and what is missing; an error when the configured engine cannot be used.
func perceptionReport(c PerceptionConfig, w io.Writer) error {
	fmt.Fprintln(w, "perception")
	open, builtin := perceptionEngines()[c.Engine]
	switch {
	case c.off():
		fmt.Fprintln(w, "  off         set perception.engine to local or openai-http (docs/perception.md); what local would find here:")
		open, c.Options = local.Open, nil
	case !builtin:
		_, err := os.Stat(c.Engine)
		fmt.Fprintf(w, "  %-11s %s\n", "plugin", c.Engine)
		return err
	}
	e, err := open(c.Options)
	if err != nil {
		return err
	}
	a := e.Abilities()
	for _, x := range []struct {
		name string
		ok   bool
	}{{"hears", a.Transcribes}, {"speaks", a.Speaks}, {"reads", a.Reads}} {
		state := "no"
		if x.ok {
			state = "ok"
		}
		fmt.Fprintf(w, "  %-11s %s\n", x.name, state)
	}
	for _, m := range append(a.Missing, missingSound()...) {
		fmt.Fprintf(w, "  %-11s %s\n", "missing", m)
	}
	return nil
}

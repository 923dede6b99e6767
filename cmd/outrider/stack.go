package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/models"
)

// stack is a whole Outrider on this machine: a cloud process, an edge process, and an emulated link
// between them in this one.
type stack struct {
	tmp   *scratch
	dir   string
	cloud *server
	edge  *server
	link  *link.Link
	c     stackConfig
}

type stackConfig struct {
	cloudArgs, edgeArgs []string
	rtt                 time.Duration
	link                linkFlag // in place of rtt
	draft               string   // name, GGUF file, none, or random
	config              string   // configuration file of both; empty: none was named
}

// engineFlags are the flags of commands that run both sides on one engine. --backend is another name
// of --engine.
func engineFlags(s *pflag.FlagSet, engine *string, options *map[string]string) {
	s.StringVar(engine, "engine", "", "that runs both models: reference or llamacpp; default: the models' own")
	s.StringToStringVar(options, "option", nil, "KEY=VALUE for the engine, such as threads=2 (can be repeated)")
	s.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "backend" {
			name = "engine"
		}
		return pflag.NormalizedName(name)
	})
}

// engineArgs are the arguments that make a cloud or an edge use an engine; an error says what it lacks
// on this machine.
func engineArgs(engine string, options map[string]string) ([]string, error) {
	if remote(engine) {
		return nil, usagef("the engine %s is for a cloud of its own: outrider cloud --engine %s --model ADDRESS --option tokenizer=FILE", engine, engine)
	}
	if engine == "mock" {
		return nil, usagef("the engine mock has no text: use reference or llamacpp")
	}
	m := ModelConfig{Model: models.TargetName, Engine: engine, Options: options}
	if _, err := m.host("engine", slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	var args []string
	if engine != "" {
		args = []string{"--engine", engine}
	}
	for _, k := range slices.Sorted(maps.Keys(options)) {
		args = append(args, "--option", k+"="+options[k])
	}
	return args, nil
}

func startStack(ctx context.Context, c stackConfig) (_ *stack, err error) {
	s := &stack{c: c}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.tmp, err = newScratch(); err != nil {
		return nil, err
	}
	s.dir = s.tmp.dir
	if s.cloud, err = s.startCloud(ctx, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	l := c.link.profile(c.rtt)
	l.Target = s.cloud.addr()
	if s.link, err = link.Listen(ctx, "127.0.0.1:0", l); err != nil {
		return nil, err
	}
	draft := c.draft
	if draft == "random" {
		draft = filepath.Join(s.dir, "random-draft.gguf")
		if err = writeRandom(draft, models.DraftName); err != nil {
			return nil, err
		}
	}
	args := append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0", "--cloud", s.link.Addr(),
		"--cache", filepath.Join(s.dir, "tokenizers"), "--draft", draft}, s.args(c.edgeArgs)...)
	if s.edge, err = startServer(ctx, s.dir, "edge", args...); err != nil {
		return nil, fmt.Errorf("the edge does not start: %w", err)
	}
	return s, nil
}

func (s *stack) startCloud(ctx context.Context, listen string) (*server, error) {
	args := append([]string{"--listen", listen, "--admin", "127.0.0.1:0", "--drain", "1s"}, s.args(s.c.cloudArgs)...)
	v, err := startServer(ctx, s.dir, "cloud", args...)
	if err != nil {
		return nil, fmt.Errorf("the cloud does not start: %w", err)
	}
	return v, nil
}

// args are a server's own arguments, with those of both.
func (s *stack) args(own []string) []string {
	if s.c.config == "" {
		return own
	}
	return append([]string{"--config", s.c.config}, own...)
}

// restartCloud starts the cloud again, on its old address, after it was killed.
func (s *stack) restartCloud(ctx context.Context) error {
	v, err := s.startCloud(ctx, s.cloud.addr())
	if err == nil {
		s.cloud = v
	}
	return err
}

// stop ends everything; nothing is left behind.
func (s *stack) stop() {
	if s.edge != nil {
		s.edge.stop()
	}
	if s.link != nil {
		_ = s.link.Close() // its connections are gone by now
	}
	if s.cloud != nil {
		s.cloud.stop()
	}
	if s.tmp != nil {
		s.tmp.remove()
	}
}

package main

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/telemetry"
)

// modelFlags say how models run that are named on the command line.
type modelFlags struct {
	engine, pace string
	options      map[string]string
}

func (m *modelFlags) add(f *pflag.FlagSet, which string) {
	f.StringVar(&m.engine, "engine", "", "reference, llamacpp, vllm, sglang, mock, or a plugin binary's path, for "+which)
	f.StringToStringVar(&m.options, "option", nil, "KEY=VALUE for the engine, such as threads=4 (can be repeated)")
}

// apply lets the flags overrule a model's settings.
func (m *modelFlags) apply(to *ModelConfig) {
	if m.engine != "" {
		to.Engine = m.engine
	}
	if m.pace != "" {
		to.Pace = m.pace
	}
	if len(m.options) > 0 {
		all := maps.Clone(to.Options)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, m.options)
		to.Options = all
	}
}

// serverFlags are what `outrider cloud` and `outrider edge` have in common.
type serverFlags struct {
	models modelFlags
	child  childFlags
}

// add adds the flags; section is cloud or edge.
func (s *serverFlags) add(f *pflag.FlagSet, section, listen, admin, which string) {
	f.String("listen", listen, "gRPC address ("+section+".listen)")
	f.String("admin", admin, "HTTP address of metrics and health, empty: none ("+section+".admin)")
	bind(f, map[string]string{"listen": section + ".listen", "admin": section + ".admin"})
	addPairFlag(f)
	s.models.add(f, which)
	s.child.add(f)
}

func addPairFlag(f *pflag.FlagSet) {
	f.String("pair", "", "pair of target and draft, by its name in pairs (pair)")
	bind(f, map[string]string{"pair": "pair"})
}

// serverRun is a running server's view of its configuration.
type serverRun struct {
	cfg     *Config
	load    func() (*Config, error) // reads the configuration anew
	level   *slog.LevelVar
	log     *slog.Logger
	address string // file for the addresses that were opened; empty: none
	tracing *telemetry.Tracing
	section string         // cloud or edge
	file    string         // the configuration's, there or not
	hangup  chan os.Signal // SIGHUP
}

// run loads the configuration, with what only flags can say put in by set, and serves until the context ends.
func (s *serverFlags) run(c *cobra.Command, set func(*Config) error, serve func(context.Context, *serverRun) error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var tracing *telemetry.Tracing
	load := func() (*Config, error) {
		cfg, err := loadConfig(c)
		if err != nil {
			return nil, err
		}
		if err := set(cfg); err != nil {
			return nil, err
		}
		cfg.traced(tracing)
		return cfg, nil
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	level, log, err := newLogger(cfg.Log, c.ErrOrStderr())
	if err != nil {
		return err
	}
	if tracing, err = telemetry.StartTracing(c.Context(), telemetry.TraceConfig{OTLP: cfg.Telemetry.OTLP, Sample: cfg.Telemetry.Sample,
		Service: "outrider-" + c.Name(), Logger: log}); err != nil {
		return usagef("telemetry.otlp: %w", err)
	}
	defer tracing.Close()
	cfg.traced(tracing)
	endProfile, err := s.child.profile()
	if err != nil {
		return err
	}
	defer endProfile()
	ctx, stop := s.child.follow(c.Context(), c.InOrStdin())
	defer stop()
	file, _ := c.Flags().GetString("config")
	return serve(ctx, &serverRun{cfg: cfg, load: load, level: level, log: log, address: s.child.addressFile, tracing: tracing,
		section: c.Name(), file: firstWord(file, defaultFile), hangup: hangup})
}

// traced makes the plugins take part in the traces.
func (c *Config) traced(t *telemetry.Tracing) {
	env := t.Env()
	c.Edge.Draft.Env = append(slices.Clone(c.Edge.Draft.Env), env...)
	for i := range c.Cloud.Targets {
		c.Cloud.Targets[i].Env = append(slices.Clone(c.Cloud.Targets[i].Env), env...)
	}
}

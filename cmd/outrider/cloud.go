package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/telemetry"
)

func newCloud() *cobra.Command {
	var targets []string
	var engine, pace string
	var options map[string]string
	var child childFlags
	c := &cobra.Command{
		Use:   "cloud",
		Short: "Serve target models to edges",
		Long: `Serve target models to edges: each edge's session is one gRPC stream, and all sessions of a
target share its steps. Without --target the embedded demo target is served.

--target NAME=FILE can be repeated; the first is the default. More settings of each target
(plugin binary, checksum, environment) go into the configuration file, see
docs/configuration.md. The admin address serves /metrics, /healthz and /readyz.

SIGTERM drains: new sessions are refused, present ones go on until cloud.drain has passed and
then resume on another cloud.`,
		Example: `  outrider cloud
  outrider cloud --target llama=llama-1b-q8_0.gguf --option threads=8 --listen 0.0.0.0:7600
  outrider cloud --engine mock --option step=40ms --option vocab=32000   # for load tests`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			log, err := newLogger(cfg.Log, c.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := cfg.Cloud.fromFlags(targets, engine, pace, options); err != nil {
				return err
			}
			if err := cfg.Models.resolve(cfg.Cloud.Targets); err != nil {
				return err
			}
			ctx, stop := child.follow(c.Context(), c.InOrStdin())
			defer stop()
			return serveCloud(ctx, cfg.Cloud, child.addressFile, log)
		},
	}
	f := c.Flags()
	f.String("listen", cloudAddr, "gRPC address (cloud.listen)")
	f.String("admin", cloudAdminAddr, "HTTP address of metrics and health, empty: none (cloud.admin)")
	f.Int("max-sessions", 4096, "sessions at once, per target (cloud.max_sessions)")
	f.Float64("run-ahead", 1, "target passes per token at most, for sessions that do not ask (cloud.run_ahead)")
	f.Duration("drain", 0, "how long sessions may go on after SIGTERM (cloud.drain)")
	bind(f, map[string]string{"listen": "cloud.listen", "admin": "cloud.admin", "max-sessions": "cloud.max_sessions",
		"run-ahead": "cloud.run_ahead", "drain": "cloud.drain"})
	f.StringArrayVar(&targets, "target", nil, "[NAME=]GGUF file or embedded model, can be repeated (cloud.targets)")
	f.StringVar(&engine, "engine", "", "reference, mock, or a plugin binary's path, for all --target")
	f.StringToStringVar(&options, "option", nil, "KEY=VALUE for the engine, such as threads=4 (can be repeated)")
	f.StringVar(&pace, "pace", "", "emulate a slower target: cost of a step and of a row, such as 40ms+0.3ms")
	child.add(f)
	return c
}

// fromFlags lets flags describe the targets.
func (c *CloudConfig) fromFlags(targets []string, engine, pace string, options map[string]string) error {
	if len(targets) > 0 || len(c.Targets) == 0 {
		c.Targets = nil
		if len(targets) == 0 {
			targets = []string{models.TargetName}
			if engine == "mock" {
				targets = []string{"mock"}
			}
		}
		for _, t := range targets {
			name, model, named := strings.Cut(t, "=")
			if !named {
				name, model = "", t
			}
			c.Targets = append(c.Targets, ModelConfig{Name: name, Model: model})
		}
	}
	for i := range c.Targets {
		t := &c.Targets[i]
		if engine != "" {
			t.Engine = engine
		}
		if pace != "" {
			t.Pace = pace
		}
		for k, v := range options {
			if t.Options == nil {
				t.Options = map[string]string{}
			}
			t.Options[k] = v
		}
	}
	return nil
}

// serveCloud launches the targets and serves until ctx is done.
func serveCloud(ctx context.Context, c CloudConfig, addressFile string, log *slog.Logger) error {
	lis, err := listen(ctx, c.Listen, "cloud.listen")
	if err != nil {
		return err
	}
	defer func() { _ = lis.Close() }() // closed by then, unless something failed before
	var admin net.Listener
	if c.Admin != "" {
		if admin, err = listen(ctx, c.Admin, "cloud.admin"); err != nil {
			return err
		}
		defer func() { _ = admin.Close() }() // as above
	}
	targets, stop, err := launchTargets(ctx, c.Targets, log)
	defer stop()
	if err != nil {
		return err
	}
	reg := telemetry.NewRegistry()
	telemetry.RegisterBuild(reg, enginesOf(targets)...)
	srv, err := cloud.NewServer(cloud.Config{Targets: targets, MaxSessions: c.MaxSessions, MaxPassesPerToken: c.RunAhead,
		IdleTTL: c.IdleTTL, Logger: log, Metrics: cloud.NewMetrics(reg)})
	if err != nil {
		return err
	}
	defer srv.Close()
	for _, t := range targets {
		i := t.Model.Info()
		log.Info("target", "name", t.Name, "engine", i.Engine, "parameters", i.Parameters, "context", i.ContextLength,
			"numerics", i.Numerics, "pace", t.Pace)
	}
	log.Info("cloud is serving", "listen", lis.Addr().String(), "admin", addrOf(admin))
	if err := writeAddresses(addressFile, lis, admin); err != nil {
		return err
	}
	return cloud.Serve(ctx, srv, cloud.ServeConfig{Listener: lis, Admin: admin, Gatherer: reg, DrainTimeout: c.Drain})
}

// enginesOf names the targets' engines, each once.
func enginesOf(targets []cloud.Target) (names []string) {
	for _, t := range targets {
		if e := t.Model.Info().Engine; !slices.Contains(names, e) {
			names = append(names, e)
		}
	}
	return names
}

// launchTargets starts the plugins one after the other; stop ends those that run.
func launchTargets(ctx context.Context, configs []ModelConfig, log *slog.Logger) (targets []cloud.Target, stop func(), err error) {
	var hosts []io.Closer
	stop = func() {
		for _, h := range hosts {
			_ = h.Close() // the host logs what goes wrong
		}
	}
	for _, m := range configs {
		step, position, err := m.pace()
		if err != nil {
			return nil, stop, err
		}
		tok, err := m.tokenizer()
		if err != nil {
			return nil, stop, err
		}
		packed, err := m.packed()
		if err != nil {
			return nil, stop, err
		}
		h, err := m.launch(ctx, "target "+m.label(), log)
		if err != nil {
			return nil, stop, err
		}
		hosts = append(hosts, h)
		t := cloud.Target{Name: m.label(), Model: h, Tokenizer: packed}
		if tok != nil {
			t.Bytes = tok.Bytes
		}
		if step > 0 || position > 0 {
			t.Model, t.Pace = backend.Paced(h, step, position), m.Pace
		}
		targets = append(targets, t)
	}
	return targets, stop, nil
}

// listen opens an address and says which setting to change when that fails.
func listen(ctx context.Context, addr, key string) (net.Listener, error) {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return lis, nil
	}
	flag := "--" + key[strings.LastIndex(key, ".")+1:]
	if errors.Is(err, syscall.EADDRINUSE) || (runtime.GOOS == "windows" && strings.Contains(err.Error(), "Only one usage")) {
		return nil, fmt.Errorf("%s is in use by another program: stop it, or choose another address with %s (%s)", addr, flag, key)
	}
	return nil, fmt.Errorf("cannot listen on %q: %w; set %s to host:port (%s)", addr, err, flag, key)
}

func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// writeAddresses tells a parent process where this one listens: one address a line.
func writeAddresses(path string, lis ...net.Listener) error {
	if path == "" {
		return nil
	}
	var b strings.Builder
	for _, l := range lis {
		b.WriteString(addrOf(l) + "\n")
	}
	if err := os.WriteFile(path+".part", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".part", path) // whole or not at all
}

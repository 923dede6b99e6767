package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/telemetry"
)

func newCloud() *cobra.Command {
	var targets []string
	var ahead string
	var flags serverFlags
	c := &cobra.Command{
		Use:   "cloud",
		Short: "Serve target models to edges",
		Long: `Serve target models to edges: each edge's session is one gRPC stream, and all sessions of a
target share its steps. Without --target the target of the pair in force is served, or the embedded
demo target.

--target takes a name from models in the configuration file, a name that "outrider models list"
shows, a GGUF file, or with --engine vllm or sglang the address of a server (--model is the same); NAME=FILE gives it a name of its own. It can be repeated; the first is the
default. More settings of each target (plugin binary, checksum, environment) go into the
configuration file, see docs/configuration.md. The admin address serves /metrics, /healthz and
/readyz. Sessions are served as soon as their target is loaded.

When the configuration file changes, and on SIGHUP, it is read anew: targets that are new or have
changed are loaded and then take over, and no session is dropped. SIGTERM drains: new sessions are refused, present ones go on until cloud.drain has passed and
then resume on another cloud.`,
		Example: `  outrider cloud
  outrider cloud --target llama=llama-1b-q8_0.gguf --option threads=8
  outrider cloud --config cloud.yaml --listen 0.0.0.0:7600   # with cloud.tls for other machines, see docs/security.md
  outrider cloud --target big --target small             # names, see docs/configuration.md
  outrider cloud --engine vllm --model http://127.0.0.1:8000 --option tokenizer=vocabulary.gguf
  outrider cloud --engine mock --option step=40ms --option vocab=32000   # for load tests`,
		Args:        noArgs,
		Annotations: map[string]string{reloads: "yes"},
		RunE: func(c *cobra.Command, _ []string) error {
			return flags.run(c, func(cfg *Config) error { return cfg.cloudFlags(targets, ahead, &flags.models) }, serveCloud)
		},
	}
	f := c.Flags()
	flags.add(f, "cloud", cloudAddr, cloudAdminAddr, "all targets")
	f.Int("max-sessions", 4096, "sessions at once, per target (cloud.max_sessions)")
	f.Bool("fail-fast", true, "end when a target cannot be loaded at the start; false: serve the others (cloud.fail_fast)")
	f.Duration("drain", 0, "how long sessions may go on after SIGTERM (cloud.drain)")
	f.Int("prefixes", 1024, "finished sessions, per target, kept for the next turn; 0: none (cloud.prefixes)")
	f.String("draft", "off", "what the cloud itself proposes: off or lookup (cloud.draft)")
	f.Bool("insecure", false, "serve other machines without TLS or to everybody (cloud.insecure)")
	bind(f, map[string]string{"insecure": "cloud.insecure", "prefixes": "cloud.prefixes", "draft": "cloud.draft", "max-sessions": "cloud.max_sessions", "fail-fast": "cloud.fail_fast", "drain": "cloud.drain"})
	f.StringArrayVar(&targets, "target", nil, "[NAME=] name, GGUF file or embedded model, can be repeated (cloud.targets)")
	f.StringArrayVar(&targets, "model", nil, "the same as --target, for the address of an engine's server")
	f.StringVar(&ahead, "run-ahead", "", "on, off, or target passes per token at most, for sessions that do not ask (cloud.run_ahead)")
	f.StringVar(&flags.models.pace, "pace", "", "emulate a slower target: cost of a step and of a row, such as 40ms+0.3ms")
	return c
}

// cloudFlags puts in what only flags can say, and what names stand for.
func (c *Config) cloudFlags(targets []string, ahead string, flags *modelFlags) error {
	if ahead != "" {
		v, err := parseRunAhead(ahead)
		if err != nil {
			return err
		}
		if c.Cloud.RunAhead = v; v == 0 {
			c.Cloud.RunAhead = 1
		}
	}
	if len(targets) > 0 {
		c.Cloud.Targets = nil
	}
	for _, t := range targets {
		name, model, named := strings.Cut(t, "=")
		if !named {
			name, model = "", t
		}
		c.Cloud.Targets = append(c.Cloud.Targets, ModelConfig{Name: name, Model: model})
	}
	if c.Cloud.Targets = c.served(); len(targets) == 0 && flags.engine == "mock" {
		c.Cloud.Targets = []ModelConfig{{Model: "mock"}}
	}
	for i := range c.Cloud.Targets {
		flags.apply(&c.Cloud.Targets[i])
	}
	return c.Models.resolve(c.Cloud.Targets)
}

// serveCloud serves until ctx is done, also while targets are being loaded.
func serveCloud(ctx context.Context, run *serverRun) error {
	c, log := run.cfg.Cloud, run.log
	door, err := newAccess(&c, log)
	if err != nil {
		return err
	}
	defer door.close()
	lis, err := listen(ctx, c.Listen, "cloud.listen")
	if err != nil {
		return err
	}
	defer func() { _ = lis.Close() }() // closed by then, unless something failed before
	if err := c.guarded(lis); err != nil {
		return err
	}
	var admin net.Listener
	if c.Admin != "" {
		if admin, err = listen(ctx, c.Admin, "cloud.admin"); err != nil {
			return err
		}
		defer func() { _ = admin.Close() }() // as above
	}
	draft, err := cloud.ParseDraft(c.Draft)
	if err != nil {
		return err
	}
	reg := telemetry.NewRegistry()
	srv, err := cloud.NewServer(cloud.Config{Targets: announced(c.Targets), MaxSessions: c.MaxSessions, MaxPassesPerToken: float64(c.RunAhead), Draft: draft,
		Pace: pace(c.Pace), Identify: door.identify, Quotas: c.quotas(), Audit: door.audit, Weights: c.shares(), IdleTTL: c.IdleTTL, Prefixes: orNone(c.Prefixes), PrefixTTL: c.PrefixTTL, Logger: log, Metrics: cloud.NewMetrics(reg), Tracing: run.tracing})
	if err != nil {
		return err
	}
	targets := newFleet(srv, log, telemetry.RegisterBuild(reg))
	defer targets.close()
	defer srv.Close()
	if err := targets.set(c.Targets); err != nil {
		return err
	}
	log.Info("cloud is serving", "listen", lis.Addr().String(), "admin", addrOf(admin))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := targets.settled(ctx, c.FailFast); err != nil || ctx.Err() != nil {
			return err
		}
		return writeAddresses(run.address, lis, admin)
	})
	g.Go(func() error {
		run.follow(ctx, func(_ context.Context, next *Config) error { return targets.set(next.Cloud.Targets) })
		return nil
	})
	g.Go(func() error { door.watch(ctx); return nil })
	g.Go(func() error {
		return cloud.Serve(ctx, srv, cloud.ServeConfig{Listener: lis, Admin: admin, Gatherer: reg, DrainTimeout: c.Drain,
			Options: append(run.tracing.ServerOptions(), door.options()...)})
	})
	return g.Wait()
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

// pace is the setting as the server takes it: 0 is none here, the default there.
func pace(p float64) float64 {
	if p == 0 {
		return -1
	}
	return p
}

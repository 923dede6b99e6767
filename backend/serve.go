package backend

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/outrider-llm/outrider/telemetry"
)

// Serve is the main function of a plugin binary. It publishes the engine to the host and returns
// when the host shuts it down, or is gone: the host holds the other end of standard input, so its
// death, however violent, ends that input on every platform. The caller should then return from
// main. Interrupts that the terminal or a service manager sends to the whole group are ignored: the
// host decides when its plugins end. slog's default logger and the standard log go to the host.
func Serve(load Loader) {
	server := NewServer(direct(load, os.Stderr))
	serve(PluginName, &Plugin{Backend: server}, func(log *slog.Logger) { server.log = log }, server.Close)
}

// ServeService is Serve for a plugin of another service, by its go-plugin name; closing is called when the
// host shuts it down.
func ServeService(name string, kind plugin.Plugin, closing func() error) {
	serve(name, kind, func(*slog.Logger) {}, closing)
}

// serve publishes one service; begin is told where to log.
func serve(name string, kind plugin.Plugin, begin func(*slog.Logger), closing func() error) {
	if os.Getenv(CookieKey) != CookieValue {
		fmt.Fprintln(os.Stderr, "this is a plugin of outrider: name it as the engine's command instead of running it by hand")
		os.Exit(2)
	}
	gone := make(chan struct{})
	go func(stdin io.Reader) {
		defer close(gone)
		_, _ = io.Copy(io.Discard, stdin)
	}(os.Stdin)
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	slog.SetDefault(log)
	crashed := make(chan struct{}, 1)
	begin(log)
	tracing, err := telemetry.StartPluginTracing(context.Background(), log)
	if err != nil {
		log.Warn("no traces of this plugin", "error", err)
	}
	defer tracing.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig:  handshake(),
			VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {name: kind}},
			GRPCServer: grpcServer(log, tracing, func() {
				select {
				case crashed <- struct{}{}:
				default:
				}
			}),
			Logger: hclog.NewNullLogger(),
		})
	}()
	select {
	case <-served:
		within(time.Second, func() {
			if err := closing(); err != nil {
				log.Warn("could not close the engine", "error", err)
			}
		})
	case <-gone:
		removeSocket(os.Getenv(plugin.EnvUnixSocketDir))
	case <-crashed:
		time.Sleep(100 * time.Millisecond) // lets the answer out
		os.Exit(3)
	}
}

// direct gives the engine the real standard error. go-plugin puts a pipe in its place whose content
// travels over gRPC and is lost when the process dies: the last words are what matters.
func direct(load Loader, stderr *os.File) Loader {
	return func(ctx context.Context, model string, options map[string]string, progress func(float32)) (Model, error) {
		os.Stderr = stderr
		return load(ctx, model, options, progress)
	}
}

// within waits for f, but no longer than d.
func within(d time.Duration, f func()) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	go func() {
		defer cancel()
		f()
	}()
	<-ctx.Done()
}

// removeSocket clears what a host that was killed could not: the socket and its directory, which
// goes only when nothing else is in it.
func removeSocket(dir string) {
	if dir == "" {
		return
	}
	sockets, _ := filepath.Glob(filepath.Join(dir, "plugin*"))
	for _, s := range sockets {
		_ = os.Remove(s)
	}
	_ = os.Remove(dir)
}

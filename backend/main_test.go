package backend_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/mock"
)

// The test binary is its own plugin: its first argument says which.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as" {
		run(os.Args[2], os.Args[3:])
		return
	}
	goleak.VerifyTestMain(m)
}

func run(as string, args []string) {
	switch as {
	case "mock":
		backend.Serve(mock.Load)
	case "environment": // a model whose name is its environment
		backend.Serve(func(ctx context.Context, model string, o map[string]string, p func(float32)) (backend.Model, error) {
			return mock.Load(ctx, model, map[string]string{"name": strings.Join(os.Environ(), "\n")}, p)
		})
	case "place": // a model whose name is where and as whom it runs, and its file
		backend.Serve(func(ctx context.Context, model string, _ map[string]string, p func(float32)) (backend.Model, error) {
			dir, _ := os.Getwd()
			return mock.Load(ctx, model, map[string]string{"name": fmt.Sprint(dir, " ", os.Getuid(), " ", model)}, p)
		})
	case "marker": // loads while the file is there
		backend.Serve(func(ctx context.Context, model string, o map[string]string, p func(float32)) (backend.Model, error) {
			if _, err := os.Stat(model); err != nil {
				return nil, fmt.Errorf("%w: %w", backend.ErrLoad, err)
			}
			return mock.Load(ctx, model, o, p)
		})
	case "crash":
		fmt.Fprintln(os.Stderr, "libfoo.so.3: cannot open shared object file")
		os.Exit(127)
	case "garbage":
		fmt.Println("hello, world")
		time.Sleep(time.Hour)
	case "version":
		fmt.Println("1|99|unix|/nowhere|grpc|")
		time.Sleep(time.Hour)
	case "silent":
		time.Sleep(time.Hour)
	case "host": // hosts a plugin until it is killed
		h, err := backend.Launch(context.Background(), self("mock"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(h.PID())
		time.Sleep(time.Hour)
	case "exit": // exits with the given status
		code, _ := strconv.Atoi(args[0])
		os.Exit(code)
	}
}

// self is a config that runs the test binary as a plugin.
func self(as string, options ...string) backend.HostConfig {
	c := backend.HostConfig{Name: "test " + as, Args: []string{"as", as}, Model: "m", Options: map[string]string{}}
	for i := 0; i+1 < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	return c
}

func launch(t testing.TB, c backend.HostConfig) *backend.Host {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h, err := backend.Launch(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// prompt is a first segment.
func prompt(seq backend.Sequence, tokens ...backend.Token) backend.Segment {
	return backend.Segment{Sequence: seq, Tokens: tokens, From: len(tokens) - 1, Setup: &backend.Setup{PromptLength: len(tokens)}}
}

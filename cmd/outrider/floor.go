package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/bench/load"
	"github.com/outrider-llm/outrider/telemetry"
)

// newFloor is the server that bench control measures beside the cloud.
func newFloor() *cobra.Command {
	var child childFlags
	var f load.Floor
	c := &cobra.Command{
		Use:    "floor",
		Hidden: true,
		Args:   noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := child.follow(c.Context(), c.InOrStdin())
			defer cancel()
			return serveFloor(ctx, &f, child.addressFile)
		},
	}
	child.add(c.Flags())
	c.Flags().IntVar(&f.Streams, "streams", 256, "woken in a step")
	c.Flags().DurationVar(&f.Step, "step", 10*time.Millisecond, "from one to the next")
	return c
}

func serveFloor(ctx context.Context, f *load.Floor, addressFile string) error {
	var c net.ListenConfig
	lis, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	admin, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	reg := telemetry.NewRegistry()
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	hs := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	var g errgroup.Group
	g.Go(func() error { return f.Serve(ctx, lis, reg) })
	g.Go(func() error {
		if err := hs.Serve(admin); ctx.Err() == nil {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return hs.Close()
	})
	tmp := addressFile + ".part"
	if err := os.WriteFile(tmp, []byte(lis.Addr().String()+"\n"+admin.Addr().String()+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, addressFile); err != nil {
		return err
	}
	return g.Wait()
}

// floorRun measures the bare server under a run's load.
func floorRun(c *cobra.Command, dir string, lc load.Config, n int, rate float64) (*load.Report, error) {
	const perTurn = 1.75
	streams := min(256, n)
	step := time.Duration(float64(streams) * perTurn / (rate * float64(n)) * float64(time.Second))
	s, err := startServer(c.Context(), dir, "floor", "--streams", strconv.Itoa(streams), "--step", step.String())
	if err != nil {
		return nil, err
	}
	defer s.stop()
	lc.Cloud, lc.Admin, lc.Waited = s.addr(), "http://"+s.admin(), s.waited
	r, err := load.Run(c.Context(), lc)
	if err != nil {
		return nil, fmt.Errorf("the bare server: %w", err)
	}
	return &r, nil
}

// waited is how many seconds the server's threads were ready to run and waited for a core, where the system tells
// (Linux).
func (s *server) waited() float64 {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid)) // the pattern is a good one
	sum := 0.0
	for _, t := range threads {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // it has ended
		}
		if f := strings.Fields(string(b)); len(f) == 3 {
			ns, _ := strconv.ParseFloat(f[1], 64) // 0 when it is none
			sum += ns / 1e9
		}
	}
	return sum
}

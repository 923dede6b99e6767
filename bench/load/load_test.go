package load_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // served on the admin port of the test's cloud when asked for
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/bench/load"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/telemetry"
)

// The cloud runs in a process of its own, this test's binary once more, so that its CPU time and
// memory are its own; the model runs in a third one. Its standard input says how long it lives.
const serverEnv = "OUTRIDER_LOAD_CLOUD"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		backend.Serve(mock.Load)
		return
	}
	if options := os.Getenv(serverEnv); options != "" {
		if err := serveMock(options); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func serveMock(options string) error {
	opts := map[string]string{}
	if err := json.Unmarshal([]byte(options), &opts); err != nil {
		return err
	}
	model, err := backend.Launch(context.Background(), backend.HostConfig{Name: "mock", Args: []string{"plugin"}, Model: "mock", Options: opts})
	if err != nil {
		return err
	}
	defer model.Close()
	reg := telemetry.NewRegistry()
	s, err := cloud.NewServer(cloud.Config{Targets: []cloud.Target{{Name: "mock", Model: model}}, Metrics: cloud.NewMetrics(reg)})
	if err != nil {
		return err
	}
	defer s.Close()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	go returnMemory(ctx, s)
	if addr := os.Getenv("OUTRIDER_LOAD_PPROF"); addr != "" {
		go func() { _ = http.ListenAndServe(addr, nil) }()
	}
	fmt.Println(lis.Addr(), admin.Addr())
	return cloud.Serve(ctx, s, cloud.ServeConfig{Listener: lis, Admin: admin, Gatherer: reg, DrainTimeout: time.Second})
}

// returnMemory does at once, when no session is left, what the runtime does after some minutes.
func returnMemory(ctx context.Context, s *cloud.Server) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for calm := 10; ; calm++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n, idle := s.Sessions(); n+idle > 0 {
			calm = 0
		}
		if calm > 0 && calm < 8 { // the connections go after the sessions
			debug.FreeOSMemory()
		}
	}
}

// startCloud returns the addresses of a cloud that ends with the test.
func startCloud(t *testing.T, options map[string]string) (addr, admin string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serverEnv+"="+string(b))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the cloud ended with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	a := strings.Fields(line)
	return a[0], "http://" + a[1]
}

func check(t *testing.T, r load.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r)
	if r.Failed != 0 || r.Mismatched != 0 {
		t.Errorf("%d failed, %d differ: %s", r.Failed, r.Mismatched, r.FirstError)
	}
	if r.Goroutines.After > r.Goroutines.Before+4 {
		t.Errorf("%.0f goroutines before, %.0f after", r.Goroutines.Before, r.Goroutines.After)
	}
}

func TestSessionsShareConnections(t *testing.T) {
	addr, admin := startCloud(t, map[string]string{"step": "5ms", "position": "20us"})
	r, err := load.Run(t.Context(), load.Config{Cloud: addr, Admin: admin, Sessions: 60, Connections: 2, Tokens: 40, Agreement: 0.8})
	check(t, r, err)
	if r.Tokens != 60*40 || r.MsPerToken.P50 <= 0 || r.CPUMicrosPerToken <= 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestOneConnectionEach(t *testing.T) {
	addr, admin := startCloud(t, map[string]string{"step": "5ms", "position": "20us"})
	r, err := load.Run(t.Context(), load.Config{Cloud: addr, Admin: admin, Sessions: 30, Connections: 30, Tokens: 30, Agreement: -1})
	check(t, r, err)
	if r.ProposedPerToken != 0 || r.PassesPerToken < 0.99 {
		t.Errorf("report %+v", r)
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []load.Config{{}, {Cloud: "127.0.0.1:1"}, {Cloud: "127.0.0.1:1", Agreement: 2}, {Cloud: "127.0.0.1:1", Admin: "http://127.0.0.1:1"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := load.Run(ctx, c); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c, err)
		}
		cancel()
	}
}

// TestManySessions is the figure: 2,000 sessions on one cloud process.
func TestManySessions(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("set OUTRIDER_VERIFY=1 to run 2,000 sessions")
	}
	for _, c := range []struct {
		name                string
		connections, tokens int
		agreement           float64
	}{
		{"shared connections, 0.8", 4, 64, 0.8},
		{"one connection each, 0.8", 2000, 64, 0.8},
		{"target alone", 4, 64, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, admin := startCloud(t, map[string]string{"step": "40ms", "position": "50us"})
			r, err := load.Run(t.Context(), load.Config{Cloud: addr, Admin: admin, Sessions: 2000, Connections: c.connections,
				Tokens: c.tokens, Agreement: c.agreement, Ramp: time.Second})
			check(t, r, err)
			if r.Memory.After > r.Memory.Before+50 || r.Memory.Peak > 600 || r.Goroutines.Peak > 3*2000+5*float64(c.connections)+200 {
				t.Errorf("memory or goroutines out of bounds: %+v", r)
			}
		})
	}
}

//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/edge"
)

// ways is how a test reaches the far side of a link: over the emulation, or over the kernel's own.
type linkWay struct {
	name   string
	listen func() (net.Listener, error)
	dial   func(ctx context.Context, addr string) (net.Conn, error)
	cloud  func(t *testing.T) string // starts a cloud and returns its address, as dial wants it
}

var mockCloudArgs = []string{"--admin", "", "--drain", "1s", "--target", "mock", "--engine", "mock", "--option", "seed=7", "--option", "exact=true",
	"--option", "step=20ms", "--option", "position=300us"}

// TestLinkAgreesWithTheKernel: what the emulated link makes of throughput, delay and a whole session is what a
// veth pair with token-bucket filters and delayed packets makes of them.
func TestLinkAgreesWithTheKernel(t *testing.T) {
	if !verifying() {
		t.Skip("make verify runs this")
	}
	const profile = "rtt=60ms,up=400kbit,down=2mbit"
	c, err := link.Parse(profile)
	if err != nil {
		t.Fatal(err)
	}
	n := newNetns(t, "400kbit", "2mbit", c.RTT)
	real := linkWay{"kernel", n.listen, n.dial, n.cloud}
	emulated := linkWay{"emulated", func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		func(ctx context.Context, addr string) (net.Conn, error) { return emulate(ctx, t, c, addr) }, emulatedCloud}
	type figures struct{ up, down, delayUp, delayDown, session float64 }
	got := map[string]figures{}
	for _, w := range []linkWay{real, emulated} {
		f := figures{up: w.throughput(t, true, 60_000), down: w.throughput(t, false, 300_000), session: w.session(t)}
		f.delayUp, f.delayDown = w.delay(t, true), w.delay(t, false)
		t.Logf("%-8s  up %.0f kbit/s, down %.0f kbit/s; one way %.1f ms up, %.1f ms down; a session %.2f ms/token",
			w.name, f.up, f.down, f.delayUp, f.delayDown, f.session)
		got[w.name] = f
	}
	k, e := got["kernel"], got["emulated"]
	for _, x := range []struct {
		what             string
		kernel, emulated float64
		relative, more   float64 // tolerance
	}{
		{"throughput up, kbit/s", k.up, e.up, 0.1, 0}, {"throughput down, kbit/s", k.down, e.down, 0.1, 0},
		{"delay up, ms", k.delayUp, e.delayUp, 0.05, 3}, {"delay down, ms", k.delayDown, e.delayDown, 0.05, 3},
		{"ms per token", k.session, e.session, 0.1, 0},
	} {
		if d := max(x.emulated-x.kernel, x.kernel-x.emulated); d > x.relative*x.kernel+x.more {
			t.Errorf("%s: %.2f over the kernel's link, %.2f over the emulated one", x.what, x.kernel, x.emulated)
		}
	}
}

// emulate opens an emulated link to an address, and a connection over it.
func emulate(ctx context.Context, t *testing.T, c link.Config, addr string) (net.Conn, error) {
	c.Target = addr
	l, err := link.Listen(context.Background(), "127.0.0.1:0", c)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = l.Close() })
	return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr())
}

// pipe is a connection over the link, and its far end; with up set it is written on the near side.
func (w linkWay) pipe(t *testing.T, up bool) (from, to net.Conn) {
	t.Helper()
	l, err := w.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	near, err := w.dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far := <-accepted
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	for _, c := range []net.Conn{near, far} {
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	}
	if up {
		return near, far
	}
	return far, near
}

// throughput is the rate of payload in kbit/s, the first round trips left out.
func (w linkWay) throughput(t *testing.T, up bool, bytes int) float64 {
	t.Helper()
	from, to := w.pipe(t, up)
	go func() { _, _ = from.Write(make([]byte, bytes)) }()
	if _, err := io.ReadFull(to, make([]byte, bytes/4)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := io.ReadFull(to, make([]byte, bytes-bytes/4)); err != nil {
		t.Fatal(err)
	}
	return float64(bytes-bytes/4) * 8 / 1000 / time.Since(begin).Seconds()
}

// delay is how long a small message takes one way, in ms, the median of some.
func (w linkWay) delay(t *testing.T, up bool) float64 {
	t.Helper()
	from, to := w.pipe(t, up)
	began := time.Now()
	var all []float64
	for range 30 {
		if err := binary.Write(from, binary.BigEndian, int64(time.Since(began))); err != nil {
			t.Fatal(err)
		}
		var sent int64
		if err := binary.Read(to, binary.BigEndian, &sent); err != nil {
			t.Fatal(err)
		}
		all = append(all, ms(time.Since(began)-time.Duration(sent)))
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// session is what a token of a whole session takes, in ms, the median of some.
func (w linkWay) session(t *testing.T) float64 {
	t.Helper()
	draft, err := ModelConfig{Model: "mock", Engine: "mock", Options: map[string]string{"seed": "7", "step": "3ms", "agreement": "0.8", "spread": "1.5",
		"exact": "true"}}.launch(t.Context(), "draft", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = draft.Close() }()
	addr := w.cloud(t)
	e, err := edge.New(edge.Config{Draft: draft, Cloud: addr, Branches: true, RunAhead: 1,
		Dial: []grpc.DialOption{grpc.WithContextDialer(w.dial)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	var all []float64
	for round := range 5 {
		s, err := e.Generate(t.Context(), edge.Request{Tokens: wanTokens(round), MaxTokens: 150, IgnoreEnd: true}, func(edge.Event) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if s.Usage.Accepted == 0 {
			t.Errorf("%s: no draft was accepted", w.name)
		}
		if round > 0 { // the first connects
			all = append(all, ms(s.Total)/float64(s.Tokens))
		}
	}
	slices.Sort(all)
	return (all[1] + all[2]) / 2
}

func emulatedCloud(t *testing.T) string {
	t.Helper()
	s, err := startServer(t.Context(), t.TempDir(), "cloud", append([]string{"--listen", "127.0.0.1:0"}, mockCloudArgs...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop() })
	return s.addr()
}

// cloud starts one in its namespace.
func (n *netns) cloud(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cloud.addr")
	c := exec.Command("ip", append([]string{"netns", "exec", n.ns("c"), self, "cloud", "--insecure", "--address-file", file, "--exit-with-stdin",
		"--listen", netnsCloud + ":0"}, mockCloudArgs...)...)
	log := &tail{}
	c.Stderr = log
	stdin, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), c.Wait() })
	for range 300 {
		if b, err := os.ReadFile(file); err == nil {
			return strings.Fields(string(b))[0]
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the cloud does not start: %s", log)
	return ""
}

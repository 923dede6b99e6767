package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// APIConfig of a run against an edge's HTTP API. Zero values mean the defaults.
type APIConfig struct {
	URL       string            // base URL of the edge's API
	Admins    map[string]string // base URLs of admin ports by process name; they are measured
	Clients   int               // at once; default 100
	Tokens    int               // per answer; default 64
	Slow      int               // clients besides, that read slowly from a small window
	Vanish    int               // clients besides, that go away in mid-stream
	Starve    time.Duration     // a client that waits longer for a token starves; default 10 s
	Ramp      time.Duration     // the clients' starts are spread over this time; default 1 s
	Settle    time.Duration     // at most so long the processes may take to calm down afterwards; default 10 s
	Seed      uint64
	SlowBytes int // a second, of a slow client; default 20,000
}

func (c *APIConfig) defaults() error {
	if c.URL == "" {
		return errors.New("load: no URL of an API given")
	}
	set(&c.Clients, 100)
	set(&c.Tokens, 64)
	set(&c.SlowBytes, 20_000)
	for _, v := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&c.Starve, 10 * time.Second}, {&c.Ramp, time.Second}, {&c.Settle, settleTime}} {
		if *v.d <= 0 {
			*v.d = v.def
		}
	}
	if c.Slow < 0 || c.Vanish < 0 {
		return errors.New("load: the slow and the vanishing clients are a number of 0 or more")
	}
	return nil
}

// kind of a client.
type kind int

const (
	steady kind = iota
	slow
	vanishing
)

// RunAPI streams an answer to every client at once and reports how they fared. The error says that
// nothing could be measured; clients that failed are counted in the report.
func RunAPI(ctx context.Context, c APIConfig) (APIReport, error) {
	if err := c.defaults(); err != nil {
		return APIReport{}, err
	}
	// What every first request does (the edge asks for the targets) is no part of the run.
	first := c.client(0, steady)
	if first.run(ctx); first.err != nil {
		return APIReport{}, fmt.Errorf("load: the API at %s does not answer: %w", c.URL, first.err)
	}
	watchers, err := c.watch(ctx)
	defer func() {
		for _, w := range watchers {
			w.stop()
		}
	}()
	if err != nil {
		return APIReport{}, err
	}
	begin := time.Now()
	clients := c.all(ctx)
	r := c.report(clients, time.Since(begin))
	for name, w := range watchers {
		p, err := w.end(ctx)
		if err != nil {
			return r, err
		}
		r.Processes[name] = p
	}
	for name, w := range watchers {
		p := r.Processes[name]
		if err := w.settle(ctx, &p, c.Settle); err != nil {
			return r, err
		}
		r.Processes[name] = p
	}
	return r, nil
}

// watch begins to watch the processes, before the clients connect.
func (c *APIConfig) watch(ctx context.Context) (map[string]*watcher, error) {
	all := map[string]*watcher{}
	for name, url := range c.Admins {
		w, err := watch(ctx, url)
		if err != nil {
			return all, err
		}
		all[name] = w
		if err := w.begin(ctx); err != nil {
			return all, err
		}
	}
	return all, nil
}

// all runs the clients, of each kind evenly over the ramp.
func (c *APIConfig) all(ctx context.Context) []*apiClient {
	var all []*apiClient
	for k, n := range []int{steady: c.Clients, slow: c.Slow, vanishing: c.Vanish} {
		for i := range n {
			x := c.client(1+len(all), kind(k))
			x.wait = time.Duration(i) * c.Ramp / time.Duration(n)
			all = append(all, x)
		}
	}
	var wg sync.WaitGroup
	for _, x := range all {
		wg.Go(func() { x.run(ctx) })
	}
	wg.Wait()
	return all
}

func (c *APIConfig) client(n int, k kind) *apiClient {
	rng := rand.New(rand.NewPCG(c.Seed, uint64(n)))
	x := &apiClient{c: c, kind: k, n: n, leave: 1 + rng.IntN(max(1, c.Tokens/2))}
	d := net.Dialer{Timeout: 30 * time.Second}
	x.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if t, ok := conn.(*net.TCPConn); ok && k == slow {
			err = t.SetReadBuffer(2048) // the edge's writes have to wait
		}
		return conn, err
	}}}
	return x
}

// throttle reads so many bytes a second.
type throttle struct {
	ctx  context.Context
	r    io.Reader
	rate int
}

func (t *throttle) Read(b []byte) (int, error) {
	const pieces = 20 // a second
	n, err := t.r.Read(b[:min(len(b), max(1, t.rate/pieces))])
	if err == nil {
		err = sleep(t.ctx, time.Second/pieces)
	}
	return n, err
}

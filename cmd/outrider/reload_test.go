//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// writeConfig replaces a configuration file as editors do.
func writeConfig(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// until waits for something that takes a while.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// launchServer starts one with a configuration file; it ends with the test.
func launchServer(t *testing.T, name, config string, args ...string) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := startServer(ctx, t.TempDir(), name, append([]string{"--config", config, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// served asks a cloud for the states of its targets.
func served(t *testing.T, addr string) map[string]*outriderv1.TargetInfo {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing was written
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := outriderv1.NewDecodeServiceClient(conn).ListModels(ctx, &outriderv1.ListModelsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]*outriderv1.TargetInfo{}
	for _, i := range r.GetModels() {
		m[i.GetName()] = i
	}
	return m
}

func serving(i *outriderv1.TargetInfo) bool {
	return i.GetState() == outriderv1.TargetState_TARGET_STATE_SERVING
}

// crowd generates again and again, each time the same, until it is told to end.
type crowd struct {
	edge       *edgeClient
	want       [][]uint32
	done       chan struct{}
	wg         sync.WaitGroup
	ends       atomic.Int64
	drafts     atomic.Int64
	mu         sync.Mutex
	complaints []string
}

func (c *crowd) ask(ctx context.Context, i int, alone bool) (got []uint32, err error) {
	sum, err := c.edge.generate(ctx, &outriderv1.GenerateRequest{
		Input:    &outriderv1.GenerateRequest_Prompt{Prompt: fmt.Sprintf("Once upon a time there were %d foxes", i)},
		Sampling: &outriderv1.Sampling{Temperature: 0.8, Seed: uint64(i)}, MaxTokens: 24, IgnoreEnd: true, NoDraft: alone, Model: "big",
	}, func(m *outriderv1.GenerateResponse) {
		for _, x := range m.GetTokens() {
			got = append(got, x.GetId())
		}
	})
	if err == nil {
		c.drafts.Add(int64(sum.GetDrafted()))
	}
	return got, err
}

func (c *crowd) run(ctx context.Context, i int) {
	for round := 0; ; round++ {
		select {
		case <-c.done:
			return
		default:
		}
		got, err := c.ask(ctx, i, false)
		if err != nil || !slices.Equal(got, c.want[i]) {
			c.mu.Lock()
			c.complaints = append(c.complaints, fmt.Sprintf("session %d, round %d: %v, got %v, want %v", i, round, err, got, c.want[i]))
			c.mu.Unlock()
			return
		}
		c.ends.Add(1)
	}
}

// gather starts n sessions that do not end before disperse.
func gather(t *testing.T, ctx context.Context, edge *edgeClient, n int) *crowd {
	t.Helper()
	c := &crowd{edge: edge, want: make([][]uint32, n), done: make(chan struct{})}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var err error
			if c.want[i], err = c.ask(ctx, i, true); err != nil || len(c.want[i]) != 24 {
				t.Errorf("the target alone: %v %v", c.want[i], err)
			}
		})
	}
	if all.Wait(); t.Failed() {
		t.FailNow()
	}
	for i := range n {
		c.wg.Go(func() { c.run(ctx, i) })
	}
	return c
}

func (c *crowd) disperse(t *testing.T) {
	t.Helper()
	close(c.done)
	c.wg.Wait()
	for _, x := range c.complaints {
		t.Error(x)
	}
}

// settle lets the crowd end some rounds with what is in force.
func (c *crowd) settle(t *testing.T) {
	t.Helper()
	before := c.ends.Load()
	until(t, "answers", func() bool { return c.ends.Load() >= before+int64(len(c.want)) || c.complained() })
}

func (c *crowd) complained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.complaints) > 0
}

// TestReloadWithSessions: while twenty sessions run, a target is added, theirs is replaced by another
// process, the draft is swapped, the log level changes, a file is broken, a process gets SIGHUP. All
// say what the target says, none is dropped.
func TestReloadWithSessions(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "outrider.yaml")
	text := func(targets, draft, more string) string {
		return "cloud:\n  prefixes: 0\n  idle_ttl: 1s\n  targets:\n" + targets + "edge:\n  fallback: fail\n  draft: " + draft + "\n" + more
	}
	const big, changed = "    - {name: big, model: outrider-demo-target, pace: 8ms}\n", "    - {name: big, model: outrider-demo-target, pace: 6ms, options: {threads: 1}}\n"
	const small = "    - {name: small, model: outrider-demo-draft}\n"
	writeConfig(t, file, text(big, "outrider-demo-draft", ""))
	cloud := launchServer(t, "cloud", file)
	edgeProc := launchServer(t, "edge", file, "--cloud", cloud.addr(), "--cache", t.TempDir())
	edge, err := dialEdge(edgeProc.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = edge.Close() }() // nothing was written
	c := gather(t, ctx, edge, 20)
	c.settle(t)

	first := plugin(t, cloud)
	writeConfig(t, file, text(big+small, "outrider-demo-draft", ""))
	until(t, "the target small", func() bool { return serving(served(t, cloud.addr())["small"]) })
	c.settle(t)

	writeConfig(t, file, text(changed+small, "outrider-demo-draft", ""))
	until(t, "the old target's end", func() bool { return !alive(first) })
	if now := served(t, cloud.addr()); !serving(now["big"]) || now["big"].GetPace() != "6ms" {
		t.Error(now)
	}
	c.settle(t)

	draft := plugin(t, edgeProc)
	writeConfig(t, file, text(changed+small, "outrider-demo-target", ""))
	until(t, "the old draft's end", func() bool { return !alive(draft) })
	st, err := edge.Status(ctx, &outriderv1.StatusRequest{})
	if err != nil || st.GetDraft() != "outrider-demo-target" {
		t.Error(st, err)
	}
	before := c.drafts.Load()
	c.settle(t)
	if c.drafts.Load() == before {
		t.Error("the new draft drafted nothing")
	}

	writeConfig(t, file, text(changed, "outrider-demo-target", "log: {level: debug, format: json}\n"))
	for _, s := range []*server{cloud, edgeProc} {
		until(t, "the level debug", func() bool {
			return strings.Contains(s.log.String(), `restart to change these settings" keys=log.format`)
		})
	}
	until(t, "the end of the target small", func() bool {
		return served(t, cloud.addr())["small"] == nil && len(children(t, cloud.cmd.Process.Pid)) == 1
	})

	writeConfig(t, file, text(changed, "outrider-demo-target", "edgy:\n  depth: 3\n"))
	for _, s := range []*server{cloud, edgeProc} {
		until(t, "a complaint", func() bool {
			return strings.Contains(s.log.String(), "the old one stays in force") && strings.Contains(s.log.String(), "outrider.yaml:9: there is no setting edgy")
		})
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until(t, "SIGHUP to be taken", func() bool { return strings.Count(s.log.String(), "the old one stays in force") > 1 })
	}
	c.settle(t)
	c.disperse(t)
	t.Logf("%d answers, all identical", c.ends.Load())
}

// TestCloudServesWhileLoading: sessions of the target that is there are served while another one loads.
func TestCloudServesWhileLoading(t *testing.T) {
	file := filepath.Join(t.TempDir(), "outrider.yaml")
	const quick = "cloud:\n  targets:\n    - {name: quick, engine: mock}\n"
	writeConfig(t, file, quick)
	cloud := launchServer(t, "cloud", file)
	writeConfig(t, file, quick+"    - {name: late, engine: mock, options: {load: 3s}}\n")
	until(t, "the target late to be half loaded", func() bool {
		s := served(t, cloud.addr())
		return serving(s["quick"]) && s["late"].GetState() == outriderv1.TargetState_TARGET_STATE_LOADING && s["late"].GetLoadPercent() >= 50
	})
	until(t, "the target late", func() bool { return serving(served(t, cloud.addr())["late"]) })
}

// TestFailFast: a target that cannot be loaded ends the cloud, or leaves the others.
func TestFailFast(t *testing.T) {
	file := filepath.Join(t.TempDir(), "outrider.yaml")
	text := "cloud:\n  targets:\n    - {name: good, engine: mock}\n    - {name: bad, engine: mock, options: {fail_load: it is broken}}\n"
	writeConfig(t, file, text)
	code, _, errs := outrider(t, "", "cloud", "--config", file, "--listen", "127.0.0.1:0", "--admin", "")
	if code != exitError || !strings.Contains(errs, "it is broken") {
		t.Error(code, errs)
	}
	cloud := launchServer(t, "cloud", file, "--fail-fast=false")
	s := served(t, cloud.addr())
	if !serving(s["good"]) || s["bad"].GetState() != outriderv1.TargetState_TARGET_STATE_FAILED || !strings.Contains(s["bad"].GetProblem(), "it is broken") {
		t.Error(s)
	}
	ready := func() (int, string) {
		r, err := http.Get("http://" + cloud.admin() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }() // it was read
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	if code, why := ready(); code != http.StatusOK {
		t.Error(code, why)
	}
	writeConfig(t, file, strings.ReplaceAll(text, "good", "other"))
	until(t, "the target good to go", func() bool { return served(t, cloud.addr())["good"] == nil })
	writeConfig(t, file, strings.ReplaceAll(text, "it is broken", "it still is")+"    - {name: last, engine: mock, options: {fail_load: no}}\n")
	until(t, "the failed ones to be tried again", func() bool {
		s := served(t, cloud.addr())
		return strings.Contains(s["bad"].GetProblem(), "it still is") && s["last"].GetProblem() != ""
	})
}

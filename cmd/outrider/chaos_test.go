//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/load"
	"github.com/outrider-llm/outrider/models"
)

// suffered is a line of the table of faults.
type suffered struct {
	fault    string
	lasted   time.Duration // from the harm to the end of its cause
	recovery time.Duration // from then until every session has a token again
	wait     time.Duration // the longest that a session waited for a token
	answers  int64
	outcome  string
}

// faultTable gathers what the faults did.
type faultTable struct{ rows []suffered }

func (f *faultTable) String() string {
	var b strings.Builder
	b.WriteString("| fault | lasted, s | recovery, s | longest wait for a token, s | answers, all as undisturbed | outcome |\n|---|---|---|---|---|---|\n")
	for _, r := range f.rows {
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %d | %s |\n", r.fault, r.lasted.Seconds(), r.recovery.Seconds(), r.wait.Seconds(), r.answers, r.outcome)
	}
	return b.String()
}

// chaosPatience bounds every wait: who needs longer hangs.
const chaosPatience = 60 * time.Second

// TestChaos harms real processes while sessions run, one fault after the other. After each: every answer is the one that
// was given before (greedy and sampled), every session goes on, and no process holds more than before. `make chaos` prints the
// table, and with -args -update writes it into docs/faults.md.
func TestChaos(t *testing.T) {
	if !verifying() {
		t.Skip("set OUTRIDER_VERIFY=1 to run it")
	}
	table := &faultTable{}
	for _, g := range []struct {
		name string
		run  func(*testing.T, *faultTable)
	}{{"processes", chaosProcesses}, {"disk", chaosDisk}} {
		t.Run(g.name, func(t *testing.T) { g.run(t, table) })
	}
	t.Logf("\n%s", table)
	if *update && !t.Failed() {
		writeFaults(t, table)
	}
}

// writeFaults puts the table into the page about faults.
func writeFaults(t *testing.T, table *faultTable) {
	const file, begin, end = "../../docs/faults.md", "<!-- faults: made by make chaos -->\n", "<!-- end of faults -->"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := bytes.Cut(old, []byte(begin))
	_, tail, found := bytes.Cut(rest, []byte(end))
	if !found {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	if err := os.WriteFile(file, []byte(string(head)+begin+table.String()+end+string(tail)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// chaos is a running system that faults are done to.
type chaos struct {
	t     *testing.T
	ctx   context.Context
	table *faultTable
	crowd *crowd
	parts func() []load.Watched // the processes now
	idle  map[string]load.Figure
}

// fault is done while sessions run.
type fault struct {
	name    string
	harm    func() // when it returns the cause is gone
	clients bool   // the edge itself goes: its clients have to ask again
	says    func() string
}

// chaosStack is edge and cloud with the demo pair over a link of 10 ms, and a crowd that knows what it should be told.
func chaosStack(t *testing.T, ctx context.Context, table *faultTable, config stackConfig, n, tokens int) (*chaos, *stack) {
	t.Helper()
	s, err := startStack(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	edge, err := dialEdge(s.edge.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = edge.Close() }) // nothing was written
	c := &chaos{t: t, ctx: ctx, table: table, parts: func() []load.Watched {
		return []load.Watched{{Name: "edge", Admin: "http://" + s.edge.admin()}, {Name: "cloud", Admin: "http://" + s.cloud.admin()},
			{Name: "draft plugin", PID: s.edge.child}, {Name: "target plugin", PID: s.cloud.child}}
	}}
	c.begin(edge, "", n, tokens)
	return c, s
}

// begin lets the crowd have its answers undisturbed, twice so that what warms up is warm, and notes what the processes hold.
func (c *chaos) begin(edge *edgeClient, model string, n, tokens int) {
	c.t.Helper()
	c.crowd = invite(c.t, c.ctx, edge, model, n, tokens)
	c.crowd.start(c.ctx)
	c.crowd.settle(c.t)
	c.crowd.disperse(c.t)
	c.idle = c.held()
}

// held reads what the processes hold.
func (c *chaos) held() map[string]load.Figure {
	c.t.Helper()
	all := map[string]load.Figure{}
	for _, p := range c.parts() {
		f, err := p.Read(c.ctx)
		if err != nil {
			c.t.Fatalf("%s: %v", p.Name, err)
		}
		all[p.Name] = f
	}
	return all
}

// suffer does a fault, and adds its line to the table.
func (c *chaos) suffer(f fault) {
	c.t.Run(f.name, func(t *testing.T) {
		x := c.crowd
		x.forgiving, x.complaint, x.why = f.clients, nil, map[string]int{}
		before, broken, resumes, inexact := x.ends.Load(), x.broken.Load(), x.resumes.Load(), x.inexact.Load()
		x.start(c.ctx)
		x.settle(t)
		x.longest.Store(0)
		begin := time.Now()
		f.harm()
		over := time.Now()
		recovery := c.recovered(t, over)
		x.settle(t)
		x.disperse(t)
		c.unchanged(t)
		if n := x.inexact.Load() - inexact; n > 0 {
			t.Errorf("%d answers are not called exact", n)
		}
		row := suffered{fault: f.name, lasted: over.Sub(begin), recovery: recovery, wait: time.Duration(x.longest.Load()), answers: x.ends.Load() - before,
			outcome: fmt.Sprintf("%d resumed", x.resumes.Load()-resumes)}
		if n := x.broken.Load() - broken; n > 0 {
			row.outcome = fmt.Sprintf("%d broke off and were asked for again (%s)", n, strings.Join(slices.Sorted(maps.Keys(x.why)), "; "))
		}
		if f.says != nil {
			row.outcome += "; " + f.says()
		}
		t.Logf("%+v", row)
		if !t.Failed() {
			c.table.rows = append(c.table.rows, row)
		}
	})
}

// recovered waits until every session got a token after the cause was gone.
func (c *chaos) recovered(t *testing.T, over time.Time) time.Duration {
	t.Helper()
	for end := time.Now().Add(chaosPatience); ; time.Sleep(5 * time.Millisecond) {
		latest, all := over, true
		for i := range c.crowd.last {
			at := time.Unix(0, c.crowd.last[i].Load())
			all = all && at.After(over)
			if at.After(latest) {
				latest = at
			}
		}
		if all || c.crowd.complained() {
			return latest.Sub(over)
		}
		if time.Now().After(end) {
			c.dump(t)
			t.Fatalf("a session hangs: no token within %s", chaosPatience)
		}
	}
}

// dump lets the servers say where their goroutines are, which ends them.
func (c *chaos) dump(t *testing.T) {
	for _, p := range load.Children(os.Getpid()) {
		_ = syscall.Kill(p, syscall.SIGQUIT) // their logs are shown below
	}
	time.Sleep(time.Second)
	t.Log("the goroutines of edge and cloud are at the end of their logs")
}

// What a process may hold beyond before: connections that idle, and what the collector of garbage has not come by.
const (
	strayGoroutines, strayDescriptors = 12, 8
	strayMB                           = 40
)

// unchanged waits until every process holds what it held before.
func (c *chaos) unchanged(t *testing.T) {
	t.Helper()
	var wrong []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		wrong = nil
		for name, now := range c.held() {
			was := c.idle[name]
			if now.Goroutines > was.Goroutines+strayGoroutines || now.Descriptors > was.Descriptors+strayDescriptors || now.MB > was.MB+strayMB {
				wrong = append(wrong, fmt.Sprintf("the %s holds %+v, before %+v", name, now, was))
			}
		}
		if wrong == nil {
			return
		}
	}
	t.Error(strings.Join(wrong, "; "))
}

// freeze stops a process for a while, as a machine does that sleeps.
func freeze(t *testing.T, pid int, d time.Duration) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	time.Sleep(d)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

// chaosProcesses kills and pauses each of the four processes.
func chaosProcesses(t *testing.T, table *faultTable) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	config := filepath.Join(t.TempDir(), "outrider.yaml")
	writeConfig(t, config, "edge: {fallback_after: 500ms}\n")
	c, s := chaosStack(t, ctx, table, stackConfig{draft: models.DraftName, rtt: 10 * time.Millisecond, config: config,
		cloudArgs: []string{"--pace", "15ms+0.1ms"}}, 6, 32)
	revive := func(restart func(context.Context) error) {
		if err := restart(ctx); err != nil {
			t.Error(err)
		}
	}
	for _, f := range []fault{
		{name: "kill -9 of the target's plugin", harm: func() { kill9(t, plugin(t, s.cloud)) }},
		{name: "kill -9 of the draft's plugin", harm: func() { kill9(t, plugin(t, s.edge)) }},
		{name: "kill -9 of the cloud, started again after 1 s", harm: func() {
			s.cloud.kill()
			time.Sleep(time.Second)
			revive(s.restartCloud)
		}},
		{name: "kill -9 of the edge, started again", clients: true, harm: func() {
			s.edge.kill()
			revive(s.restartEdge)
		}},
		{name: "the target's plugin stands still for 3 s (SIGSTOP)", harm: func() { freeze(t, plugin(t, s.cloud), 3*time.Second) }},
		{name: "the draft's plugin stands still for 3 s", harm: func() { freeze(t, plugin(t, s.edge), 3*time.Second) }},
		{name: "the cloud stands still for 8 s", harm: func() { freeze(t, s.cloud.cmd.Process.Pid, 8*time.Second) }},
		{name: "the edge stands still for 3 s", harm: func() { freeze(t, s.edge.cmd.Process.Pid, 3*time.Second) }},
	} {
		c.suffer(f)
	}
}

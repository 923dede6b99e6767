//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// children returns the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has just ended
		}
		s := string(b)
		after := strings.Fields(s[strings.LastIndex(s, ")")+1:]) // state, parent, ...
		if len(after) > 1 && after[0] != "Z" && after[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(s[:strings.IndexByte(s, ' ')])
			out = append(out, child)
		}
	}
	return out
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	s := string(b)
	return !strings.HasPrefix(s[strings.LastIndex(s, ")")+1:], " Z")
}

// gone waits until none of the processes is left.
func gone(t *testing.T, pids ...int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, p := range pids {
		for alive(p) {
			if time.Now().After(deadline) {
				t.Errorf("process %d is left behind", p)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func plugin(t *testing.T, s *server) int {
	t.Helper()
	c := children(t, s.cmd.Process.Pid)
	if len(c) != 1 {
		t.Fatalf("server %d has the children %v, want one plugin", s.cmd.Process.Pid, c)
	}
	return c[0]
}

func kill9(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestFaults kills one part after the other in mid-generation: the answer is the target's all the
// same, and nothing is left behind.
func TestFaults(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s, err := startStack(ctx, stackConfig{draft: models.DraftName, rtt: 10 * time.Millisecond,
		cloudArgs: []string{"--pace", "15ms+0.1ms"}})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			s.stop()
		}
	}()
	edge, err := dialEdge(s.edge.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	want, _ := generate(t, ctx, edge, true, nil)
	faults := []struct {
		name string
		harm func()
	}{
		{"none", func() {}},
		{"cut the link", s.link.Cut},
		{"link down for a second", func() {
			s.link.SetDown(true)
			time.AfterFunc(time.Second, func() { s.link.SetDown(false) })
		}},
		{"kill -9 the draft plugin", func() { kill9(t, plugin(t, s.edge)) }},
		{"kill -9 the target plugin", func() { kill9(t, plugin(t, s.cloud)) }},
		{"kill -9 the cloud", func() {
			old := plugin(t, s.cloud)
			s.cloud.kill()
			gone(t, old) // the plugin of a killed cloud ends by itself
			if err := s.restartCloud(ctx); err != nil {
				t.Error(err)
			}
		}},
		{"terminate the cloud", func() {
			s.cloud.stop()
			if err := s.restartCloud(ctx); err != nil {
				t.Error(err)
			}
		}},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			begin := time.Now()
			got, sum := generate(t, ctx, edge, false, f.harm)
			if !slices.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
			t.Logf("| %s | identical | resumed %d | %.1f s |", f.name, sum.GetResumes(), time.Since(begin).Seconds())
		})
	}
	parts := append([]int{s.cloud.cmd.Process.Pid, s.edge.cmd.Process.Pid}, plugin(t, s.cloud), plugin(t, s.edge))
	s.stop()
	stopped = true
	gone(t, parts...)
}

// generate runs 64 tokens and does harm after the tenth.
func generate(t *testing.T, ctx context.Context, edge *edgeClient, alone bool, harm func()) ([]uint32, *outriderv1.Summary) {
	t.Helper()
	var got []uint32
	done := make(chan struct{})
	sum, err := edge.generate(ctx, &outriderv1.GenerateRequest{
		Input:    &outriderv1.GenerateRequest_Prompt{Prompt: "Once upon a time there was a fox"},
		Sampling: &outriderv1.Sampling{Temperature: 0.8, Seed: 5}, MaxTokens: 64, IgnoreEnd: true, NoDraft: alone,
		Fallback: outriderv1.Fallback_FALLBACK_WAIT,
	}, func(m *outriderv1.GenerateResponse) {
		for _, x := range m.GetTokens() {
			got = append(got, x.GetId())
		}
		if len(got) >= 10 && harm != nil {
			h := harm
			harm = nil
			go func() {
				defer close(done)
				h()
			}()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !alone {
		<-done
	}
	if len(got) != 64 {
		t.Fatalf("%d tokens", len(got))
	}
	return got, sum
}

// TestFallbackToTheDraft: with no cloud the draft finishes the answer, marked unverified.
func TestFallbackToTheDraft(t *testing.T) {
	s := quickStack(t, "--fallback", "draft", "--fallback-after", "300ms")
	s.cloud.kill()
	code, out, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "--json", "-n", "16", "-t", "0", "--ignore-end", "Once upon a time")
	if code != 0 || strings.Count(out, `"unverified":true`) != 16 || !strings.Contains(out, `"exact":false`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	code, out, errs = outrider(t, "", "generate", "--edge", s.edge.addr(), "--fallback", "fail", "hello")
	if code != exitError || strings.TrimSpace(out) != "" || !strings.Contains(errs, "cloud") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	t.Log(errs)
}

// TestKilledParents: kill -9 of a server leaves no plugin behind.
func TestKilledParents(t *testing.T) {
	s := quickStack(t)
	for _, v := range []*server{s.cloud, s.edge} {
		p := plugin(t, v)
		v.kill()
		gone(t, p)
	}
}

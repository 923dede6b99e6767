package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/sweep"
)

func sweepOutput(ctx context.Context, args ...string) (string, error) {
	c := newSweep()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	c.SilenceUsage = true
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

// A sweep that is stopped in the middle goes on where it was, and its baselines say what Outrider says.
func TestSweepResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	path := filepath.Join(t.TempDir(), "runs", "x.jsonl")
	args := []string{"--engine", "mock", "--mock", "step=2ms,position=10us,draft=100us", "-n", "3", "--max-tokens", "24", "--link", "rtt=2ms",
		"--temperature", "0,1", "--sessions", "1,2", "--out", path}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // stopped once a few cells are there
		for ctx.Err() == nil {
			if b, _ := os.ReadFile(path); bytes.Count(b, []byte("\n")) >= 4 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if out, err := sweepOutput(ctx, args...); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-7], 0o600); err != nil { // as if it had been killed while it wrote
		t.Fatal(err)
	}
	out, err := sweepOutput(t.Context(), args...)
	if err != nil || !strings.Contains(out, "had been torn") {
		t.Fatalf("%v\n%s", err, out)
	}
	records, torn, err := sweep.ReadFile(path)
	if err != nil || torn || len(records) != 4*2*(3+4) { // ways, temperatures; sessions one and two at a time, the last ones with the first again
		t.Fatalf("%d records, torn %t, %v", len(records), torn, err)
	}
	outputs := map[string]string{}
	for _, r := range records {
		if r.Failure != "" || r.Tokens != 24 || r.Passes == 0 || len(r.Fates) != 24 || r.Total <= 0 {
			t.Errorf("%+v", r)
		}
		k := r.Prompt + r.Settings["temperature"]
		if o := outputs[k]; o != "" && o != r.Output {
			t.Errorf("%s %v: another output", r.Way, r.Settings)
		}
		outputs[k] = r.Output
	}
	if out, err = sweepOutput(t.Context(), args...); err != nil || !strings.Contains(out, " 0 of them to measure") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSweepRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonl")
	if err := os.WriteFile(bad, []byte("{\"x\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ok := filepath.Join(dir, "ok.jsonl")
	for want, args := range map[string][]string{
		"--out":            {},
		"temperature=warm": {"--out", ok, "--temperature", "warm"},
		"line 1":           {"--out", ok, "--workload", bad},
		"not a record":     {"--out", bad},
		"no workload":      {"--out", ok, "--workload", "poems"},
		"no baseline":      {"--out", ok, "--baseline", "luck"},
		"--pace":           {"--out", ok, "--engine", "mock", "--pace", "4ms"},
		"--mock":           {"--out", ok, "--engine", "mock", "--mock", "colour=red"},
	} {
		if out, err := sweepOutput(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q\n%s", args, err, want, out)
		}
	}
}

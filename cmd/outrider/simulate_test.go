package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func simulateOutput(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := newSimulate()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(context.Background())
	return out.String(), err
}

// One JSON object per round trip, with the fields that others read.
func TestSimulateJSON(t *testing.T) {
	out, err := simulateOutput(t, "--json", "--rtt", "10ms,50ms", "--target-step", "40ms", "--target-token", "0.3ms", "--draft-token", "4ms",
		"--agreement", "0.8", "--confidence", "calibrated", "--second-choice", "0.5", "--repeats", "5", "--tokens", "100")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), out)
	}
	for i, rtt := range []float64{10, 50} {
		var r map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &r); err != nil {
			t.Fatal(err)
		}
		ratio, ms, passes := r["ratio"].(float64), r["ms_per_token"].(float64), r["target_passes_per_token"].(float64)
		if r["rtt_ms"] != rtt || ratio < 0.25 || ratio > 0.7 || ms < 10 || ms > 30 || passes < 0.2 || passes > 0.7 || r["assumptions"] == nil {
			t.Errorf("line %d: %s", i, lines[i])
		}
	}
}

func TestSimulateTable(t *testing.T) {
	out, err := simulateOutput(t, "--rtt", "20ms", "--repeats", "2", "--tokens", "50", "--price", "3", "--break-even")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Assumed:", "Round trip 20 ms", "outrider", "cloud-only", "oracle", "per million tokens", "synchronous gains up to"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing from\n%s", want, out)
		}
	}
	for _, bad := range [][]string{{"--agreement", "2"}, {"--tokens", "0"}, {"--confidence", "loud"}, {"--target-step", "0s", "--target-token", "0s"}, {"--arrivals", "nowhere.csv"}} {
		if out, err := simulateOutput(t, bad...); err == nil {
			t.Errorf("%v was accepted: %s", bad, out)
		}
	}
}

// One line per bound, each telling the bound; fewer passes are paid for in time.
func TestSimulateMaxPasses(t *testing.T) {
	out, err := simulateOutput(t, "--json", "--no-baselines", "--rtt", "100ms", "--max-passes", "0.3,1", "--repeats", "10", "--tokens", "200")
	if err != nil {
		t.Fatal(err)
	}
	var low, high simulated
	d := json.NewDecoder(strings.NewReader(out))
	if err := errors.Join(d.Decode(&low), d.Decode(&high)); err != nil || d.More() {
		t.Fatalf("%v: %s", err, out)
	}
	if low.MaxPasses != 0.3 || high.MaxPasses != 1 || low.Passes > 0.4 || low.Passes >= high.Passes || low.MsPerToken <= high.MsPerToken {
		t.Errorf("%+v\n%+v", low, high)
	}
	for _, bad := range []string{"0", "1.1", "NaN"} {
		if _, err := simulateOutput(t, "--max-passes", bad); err == nil {
			t.Errorf("--max-passes %s was accepted", bad)
		}
	}
}

func TestSimulateRefuses(t *testing.T) {
	for _, flag := range []string{"--depth=-1", "--capacity=-1", "--capacity=NaN", "--price=-1"} {
		if out, err := simulateOutput(t, "--no-baselines", "--repeats", "1", flag); err == nil || strings.Contains(out, "Assumed") {
			t.Errorf("%s: %v, printed %q", flag, err, out)
		}
	}
}

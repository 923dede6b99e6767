package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/bench/shapes"
)

// needLlamacpp skips where the plugin or llama.cpp's libraries are not to be had; make verify has both.
func needLlamacpp(t *testing.T) {
	t.Helper()
	if !verifying() {
		t.Skip("runs in make verify")
	}
	report, err := llamacppReport(t.Context(), "")
	if err != nil {
		t.Skip(err)
	}
	if report.Error != "" {
		t.Skip(report.Error)
	}
}

func TestDemoOnLlamacpp(t *testing.T) {
	needLlamacpp(t)
	r := demoJSON(t, "--backend", "llamacpp", "--rtt", "10ms", "--pace", "10ms+0.1ms", "-n", "32")
	if r.Tokens != 96 || !(r.Acceptance > 0.3) || r.MeanLength < 1.5 || r.Passes >= 1 {
		t.Errorf("%+v", r)
	}
}

func TestEngineOfBothSides(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for engine, want := range map[string]string{"llamacpp": "outrider-llamacpp", "mock": "no text", "abacus": "no engine"} {
		code, _, errs := outrider(t, "", "demo", "--engine", engine)
		if code == 0 || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d: %s", engine, code, errs)
		}
	}
}

func TestLosslessOnLlamacpp(t *testing.T) {
	needLlamacpp(t)
	args := []string{"bench", "lossless", "--engine", "llamacpp", "--n", "100", "--temperatures", "0"}
	if p := filepath.Join("..", "..", "..", "shared", "data", "prompts", "spec_bench.jsonl"); fileExists(p) {
		args = append(args, "--prompts", p)
	}
	code, out, errs := outrider(t, "", args...)
	t.Log(out)
	var same, all int
	if _, err := fmt.Sscanf(out, "%d of %d identical", &same, &all); err != nil || code != 0 || all != 100 || same < 70 {
		t.Errorf("exit code %d, %d of %d identical: %s", code, same, all, errs)
	}
}

// A difference is excused when a shape gives it or when the engine moves other gaps as far, and only then.
func TestLosslessVerdicts(t *testing.T) {
	near := losslessDifference{Got: 2, Explained: true, Shapes: shapes.Explanation{Spread: 0.04, Alone: shapes.Choice{Token: 1, Second: 2, Gap: 0.02}}}
	still, far, other, again := near, near, near, near
	again.Explained, again.Got, again.Shapes.Spread = false, 1, 0
	still.Explained, far.Explained, other.Explained = false, false, false
	still.Shapes.Spread, far.Shapes.Alone.Gap, other.Got = 0, 0.05, 3
	for i, tc := range []struct {
		differ []losslessDifference
		want   string
		fails  bool
	}{{nil, "2 of 2", false}, {[]losslessDifference{near}, "explained:", false}, {[]losslessDifference{near, still}, "near tie:", false},
		{[]losslessDifference{near, again}, "near tie:", false}, {[]losslessDifference{again}, "UNEXPLAINED", true},
		{[]losslessDifference{still}, "UNEXPLAINED", true}, {[]losslessDifference{near, far}, "UNEXPLAINED", true}, {[]losslessDifference{near, other}, "UNEXPLAINED", true}} {
		var b strings.Builder
		r := losslessReport{Runs: 2, Identical: 2 - len(tc.differ), Differ: tc.differ}
		if err := r.print(&b, false); (err != nil) != tc.fails || !strings.Contains(b.String(), tc.want) {
			t.Errorf("%d: %v\n%s", i, err, b.String())
		}
	}
}

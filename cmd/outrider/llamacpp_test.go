package main

import (
	"strings"
	"testing"
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

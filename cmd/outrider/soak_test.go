package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A short soak over real processes; `make soak` runs a long one.
func TestSoak(t *testing.T) {
	for _, bad := range []string{"--for 1ms", "--clients 0", "--tokens 1", "--every 0s"} {
		if code, _, errs := outrider(t, "", append([]string{"bench", "soak"}, strings.Fields(bad)...)...); code != exitUsage || !strings.Contains(errs, "at least") {
			t.Errorf("%s: %d %s", bad, code, errs)
		}
	}
	if !verifying() {
		t.Skip("set OUTRIDER_VERIFY=1 to run it")
	}
	dir := t.TempDir()
	html, svg, figures := filepath.Join(dir, "s.html"), filepath.Join(dir, "s.svg"), filepath.Join(dir, "s.json")
	// Too short to judge memory: that is what the long one is for.
	code, out, errs := outrider(t, "", "bench", "soak", "--for", "20s", "--clients", "3", "--pause", "300ms", "--every", "500ms", "--harm-every", "2s", "--html", html, "--svg", svg, "--json", figures)
	t.Log(out)
	if !strings.Contains(out, "chat") || strings.Contains(errs, "went wrong") || code != 0 && !strings.Contains(errs, "memory, MB grows") {
		t.Errorf("%d %s", code, errs)
	}
	for _, f := range []string{html, svg, figures} {
		if b, err := os.ReadFile(f); err != nil || len(b) < 1000 {
			t.Errorf("%s: %d bytes, %v", f, len(b), err)
		}
	}
}

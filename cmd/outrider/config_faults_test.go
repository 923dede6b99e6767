package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestConfigCheckListsAll: keys that mean nothing hide nothing else that is wrong.
func TestConfigCheckListsAll(t *testing.T) {
	dir := t.TempDir()
	bad := writeFile(t, dir, "bad.yaml", "cloud:\n  lisen: x\n  pace: -1\nedge: {mod: auto, objective: nothing}\nbogus: 1\n")
	code, _, errs := outrider(t, "", "config", "--check", bad)
	for _, want := range []string{"bad.yaml:2: there is no setting cloud.lisen", "bad.yaml:3: cloud.pace", "bad.yaml:4: there is no setting edge.mod", "bad.yaml:4: edge.objective",
		"bad.yaml:5: there is no setting bogus", "bad.yaml has 5 mistakes"} {
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, errs)
		}
	}
	if code, _, errs := outrider(t, "", "config", "--config", bad); code != exitUsage || !strings.Contains(errs, "cloud.lisen") {
		t.Error(code, errs)
	}
}

// TestConfigIsAPlainFile: a folder or a pipe as the configuration is refused, not waited for.
func TestConfigIsAPlainFile(t *testing.T) {
	paths := []string{t.TempDir()}
	if runtime.GOOS != "windows" {
		paths = append(paths, "/dev/zero")
	}
	for _, path := range paths {
		for _, flag := range []string{"--config", "--check"} {
			if code, _, errs := outrider(t, "", "config", flag, path); code != exitUsage || !strings.Contains(errs, "is no plain file") {
				t.Error(path, code, errs)
			}
		}
	}
}

// TestAbandoned: what does not ask whether it is to end is left when it is.
func TestAbandoned(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	defer close(hold)
	cancel()
	if _, err := abandoned(ctx, func() (int, error) { <-hold; return 1, nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if v, err := abandoned(t.Context(), func() (int, error) { return 2, nil }); v != 2 || err != nil {
		t.Error(v, err)
	}
	// The command ends though its input never does.
	ctx, cancel = context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	time.AfterFunc(50*time.Millisecond, cancel)
	var out, errs strings.Builder
	if code := run(ctx, []string{"privacy"}, r, &out, &errs); code != exitInterrupted || out.Len() > 0 {
		t.Error(code, out.String(), errs.String())
	}
}

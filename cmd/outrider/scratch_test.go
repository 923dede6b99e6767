package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestScratch(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp) // Windows
	live, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	left, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, left.dir, "random-draft.gguf", "x")
	_ = left.lock.Close() // as a killed process does
	elsewhere := t.TempDir()
	writeFile(t, elsewhere, scratchLock, "")
	if err := os.Symlink(elsewhere, filepath.Join(temp, scratchPrefix+"link")); err != nil {
		t.Log(err) // Windows
	}
	for _, d := range []string{scratchPrefix + "young", "outrider-other"} {
		if err := os.Mkdir(filepath.Join(temp, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(temp, "outrider-other"), scratchLock, "")
	next, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	if fileExists(left.dir) {
		t.Error("what was left behind is there")
	}
	for _, d := range []string{live.dir, next.dir, elsewhere, filepath.Join(elsewhere, scratchLock), filepath.Join(temp, scratchPrefix+"young"), filepath.Join(temp, "outrider-other")} {
		if !fileExists(d) {
			t.Errorf("%s is gone", d)
		}
	}
	live.remove()
	next.remove()
	if fileExists(live.dir) || fileExists(next.dir) {
		t.Error("remove left something")
	}
}

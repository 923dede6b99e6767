//go:build unix

package backend_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/outrider-llm/outrider/backend"
)

// TestLeastPrivilege: a plugin works in its own folder, as its own user where root starts it, and still finds
// its model.
func TestLeastPrivilege(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("model", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp("", "outrider-plugin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	c := self("place")
	c.Model, c.Dir = "model", work
	uid := os.Getuid()
	if uid == 0 { // the test's own program is where nobody else can read it
		program := filepath.Join(work, "plugin")
		b, err := os.ReadFile(c.Command)
		if c.Command == "" {
			b, err = os.ReadFile(os.Args[0])
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(program, b, 0o755), os.Chmod(work, 0o755)); err != nil {
			t.Fatal(err)
		}
		c.Command, c.User, uid = program, "65534", 65534
	}
	h := launch(t, c)
	if want := fmt.Sprint(work, " ", uid, " ", filepath.Join(dir, "model")); h.Info().Name != want {
		t.Errorf("it runs as %q, want %q", h.Info().Name, want)
	}
	c.User = "nobody-of-that-name"
	if _, err := backend.Launch(t.Context(), c); !errors.Is(err, backend.ErrLoad) {
		t.Error(err)
	}
}

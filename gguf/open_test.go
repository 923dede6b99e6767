package gguf_test

import (
	"errors"
	"os"
	"testing"

	"github.com/outrider-llm/outrider/gguf"
)

// A pipe would make Open wait for its writer, for ever.
func TestOpenTakesRegularFilesOnly(t *testing.T) {
	for _, path := range []string{t.TempDir(), os.DevNull} {
		if _, err := gguf.Open(path); !errors.Is(err, gguf.ErrNotGGUF) {
			t.Errorf("%s: %v, want ErrNotGGUF", path, err)
		}
	}
}

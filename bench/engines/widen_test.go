package engines

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
)

func TestWiden(t *testing.T) {
	raw, _ := models.Embedded(models.DraftName)
	f, err := gguf.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wide.gguf")
	if err := Widen(f, path, 2, 100); err == nil {
		t.Error("a width of 100 was taken")
	}
	if err := Widen(f, path, 2, 128); err != nil {
		t.Fatal(err)
	}
	m, err := reference.Load(context.Background(), path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := one(context.Background(), m, backend.Segment{Sequence: 1, Tokens: []backend.Token{5, 6, 7}, From: 2, Setup: &backend.Setup{}})
	if err != nil || len(c) != 1 {
		t.Errorf("%v, %v", c, err)
	}
}

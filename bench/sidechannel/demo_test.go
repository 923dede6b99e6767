package sidechannel

import (
	"bytes"
	"testing"

	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// demo is a measurement of the demo pair.
func demo(t *testing.T) (c Config) {
	t.Helper()
	var err error
	if c.Target, err = reference.Load(t.Context(), models.DraftName, nil, nil); err != nil {
		t.Fatal(err)
	}
	if c.Draft, err = reference.Load(t.Context(), models.DraftName, nil, nil); err != nil {
		t.Fatal(err)
	}
	data, _ := models.Embedded(models.DraftName)
	g, err := gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Tokenizer, err = tokenizer.FromGGUF(g); err != nil {
		t.Fatal(err)
	}
	return c
}

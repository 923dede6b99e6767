package edge

import (
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/bench/link"
)

// TestPromptThatCannotFit: text that is too long whatever its tokens are is refused before they are found.
func TestPromptThatCannotFit(t *testing.T) {
	p := demoPacked(t)
	r := newRig(t, link.Config{}, learning(p, t.TempDir(), true))
	generate := func(q Request) error {
		_, err := r.edge.Generate(t.Context(), q, func(Event) error { return nil })
		wantError(t, err, ErrRequest)
		return err
	}
	long := strings.Repeat("word ", 1<<20)
	for _, q := range []Request{{Prompt: long}, {Messages: []Message{{Role: "user", Content: "short"}, {Role: "user", Content: long}}}, {Prompt: long, Model: "big"}} {
		if err := generate(q); !strings.Contains(err.Error(), "do not fit into the context of target big (512 tokens): shorten it") {
			t.Error(err)
		}
	}
	if err := generate(Request{Prompt: strings.Repeat("a", MaxPromptBytes+1)}); !strings.Contains(err.Error(), "at most 64 MiB") {
		t.Error(err)
	}
	c, _ := r.generate(hello, nil)
	r.checkText(p, c)
}

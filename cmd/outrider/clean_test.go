package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// What a model file or another side says must not steer the terminal.
func TestNoControlSequencesReachTheTerminal(t *testing.T) {
	if s := oneLine(errors.New("the template says: no\n\x1b[31m \u202eroles")); s != "the template says: no; [31m roles" {
		t.Errorf("%q", s)
	}
	var b bytes.Buffer
	if printModels(&b, []modelInfo{{Model: "a.gguf", Architecture: "\x1b[31mx"}}); strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q", b.String())
	}
	for mode, want := range map[string]string{"always": "a\tb[2J\n", "never": "a\tb\x1b[2J\n"} { // a pipe gets the text as it is
		b.Reset()
		p, err := newPrinter(&b, mode)
		if err != nil {
			t.Fatal(err)
		}
		if p.response(&outriderv1.GenerateResponse{Tail: "a\tb\x1b[2J\n"}); b.String() != want {
			t.Errorf("%s: %q, want %q", mode, b.String(), want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/models"
)

// badFiles writes broken copies of the demo draft.
func badFiles(t *testing.T) (dir string) {
	dir = t.TempDir()
	good, _ := models.Embedded(models.DraftName)
	magic := bytes.Clone(good)
	copy(magic, "NOPE")
	absurd := bytes.Clone(good)
	// The first dimension of token_embd.weight, right after its name and its number of dimensions.
	at := bytes.Index(absurd, []byte("token_embd.weight")) + len("token_embd.weight") + 4
	copy(absurd[at:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	for name, b := range map[string][]byte{
		"good.gguf": good, "truncated.gguf": good[:len(good)/2], "magic.gguf": magic, "absurd.gguf": absurd, "empty.gguf": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestBadInput: each mistake is one line that says what to do, with exit code 1 or 2.
func TestBadInput(t *testing.T) {
	dir := badFiles(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	s := quickStack(t)
	edge := s.edge.addr()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := []string{"--listen", "127.0.0.1:0", "--admin", ""}
	cases := []struct {
		name  string
		stdin string
		args  []string
		want  string
	}{
		{"truncated GGUF", "", append([]string{"cloud", "--target", file("truncated.gguf")}, free...), "truncated"},
		{"wrong magic", "", append([]string{"cloud", "--target", file("magic.gguf")}, free...), "not a GGUF file"},
		{"absurd tensor", "", append([]string{"cloud", "--target", file("absurd.gguf")}, free...), "token_embd.weight"},
		{"empty file", "", append([]string{"edge", "--draft", file("empty.gguf")}, free...), "not a GGUF file"},
		{"missing file", "", append([]string{"edge", "--draft", file("nothing.gguf")}, free...), "no model file"},
		{"folder as model", "", append([]string{"edge", "--draft", dir}, free...), "directory"},
		{"port in use", "", []string{"cloud", "--listen", taken.Addr().String(), "--admin", ""}, "in use"},
		{"bad address", "", []string{"cloud", "--listen", "nowhere"}, "host:port"},
		{"missing plugin", "", append([]string{"edge", "--engine", "./no-such-plugin"}, free...), "no-such-plugin"},
		{"unknown engine", "", append([]string{"edge", "--engine", "tpu"}, free...), "no engine"},
		{"unknown option", "", append([]string{"edge", "--option", "speed=9"}, free...), "speed"},
		{"empty prompt", "", []string{"generate", "--edge", edge, ""}, "empty"},
		{"empty standard input", "\n", []string{"generate", "--edge", edge}, "empty"},
		{"prompt beyond the context", strings.Repeat("once upon a time ", 800), []string{"generate", "--edge", edge}, "context"},
		{"invalid UTF-8", "a\xff\xfeb", []string{"generate", "--edge", edge}, "UTF-8"},
		{"temperature -1", "", []string{"generate", "--edge", edge, "--temperature", "-1", "hi"}, "temperature"},
		{"bad run-ahead", "", []string{"generate", "--edge", edge, "--run-ahead", "2", "hi"}, "run-ahead"},
		{"unknown flag", "", []string{"generate", "--speed", "9"}, "unknown flag"},
		{"unknown command", "", []string{"genrate"}, "genrate"},
		{"no edge", "", []string{"generate", "--edge", "127.0.0.1:1", "hi"}, "no edge answers"},
		{"missing config", "", []string{"config", "--config", file("none.yaml")}, "none.yaml"},
		{"bad pace", "", append([]string{"cloud", "--pace", "fast"}, free...), "pace"},
		{"bad fallback", "", append([]string{"edge", "--fallback", "cry"}, free...), "fallback"},
		{"max-tokens beyond 32 bits", "", []string{"generate", "--edge", edge, "-n", "4294967297", "hi"}, "max-tokens"},
		{"deadline too short", "", []string{"generate", "--edge", edge, "--deadline", "1ns", "hi"}, "deadline"},
		{"run-ahead NaN", "", append([]string{"cloud", "--run-ahead", "NaN"}, free...), "run-ahead"},
		{"no sessions", "", append([]string{"cloud", "--max-sessions", "-1"}, free...), "max_sessions"},
		{"negative time", "", append([]string{"edge", "--fallback-after", "-5s"}, free...), "fallback_after"},
		{"demo with a missing draft", "", []string{"demo", "--draft", file("nothing.gguf")}, "nothing.gguf"},
		{"demo with a bad temperature", "", []string{"demo", "-t", "-1"}, "temperature"},
		{"negative number of prompts", "", []string{"bench", "lossless", "--n", "-1"}, "at least 1"},
		{"log level", "", append([]string{"edge", "--log-level", "loud"}, free...), "log.level"},
		{"too many bytes of stop strings", "", []string{"generate", "--edge", edge, "--stop", strings.Repeat("x", 300), "hi"}, "stop"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code, _, errs := outrider(t, c.stdin, c.args...)
			t.Logf("| %s | %d | %s |", c.name, code, strings.ReplaceAll(strings.TrimSpace(errs), dir, "DIR"))
			if code != exitError && code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(errs, c.want) {
				t.Errorf("%q does not contain %q", errs, c.want)
			}
			if n := strings.Count("\n"+errs, "\noutrider: "); n != 1 {
				t.Errorf("%d lines of error in %q", n, errs)
			}
			if strings.Contains(errs, "goroutine ") || strings.Contains(errs, "panic") {
				t.Errorf("a stack trace: %s", errs)
			}
		})
	}
}

// TestForeignVocabulary: a draft with another vocabulary is refused before anything is generated, when it may not draft text.
func TestForeignVocabulary(t *testing.T) {
	foreign := filepath.Join("..", "..", "..", "shared", "data", "models", "stories260K.gguf")
	if !fileExists(foreign) {
		t.Skip("no ../shared/data/models/stories260K.gguf")
	}
	t.Setenv("OUTRIDER_EDGE_TRANSLATE", "off")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := startStack(ctx, stackConfig{draft: foreign})
	if err != nil {
		t.Fatal(err) // the edge cannot know before it meets the cloud
	}
	defer s.stop()
	code, _, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "Once upon a time")
	t.Logf("| foreign vocabulary | %d | %s |", code, strings.TrimSpace(errs))
	if code != exitError || !strings.Contains(errs, "the vocabularies differ") || strings.Count(errs, "\n") > 2 {
		t.Errorf("code %d: %q", code, errs)
	}
}

// TestNoFileOfTheTarget: an edge without a draft needs nothing but the cloud's address.
func TestNoFileOfTheTarget(t *testing.T) {
	target := filepath.Join("..", "..", "..", "shared", "data", "models", "stories260K.gguf")
	if !fileExists(target) {
		t.Skip("no ../shared/data/models/stories260K.gguf")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := startStack(ctx, stackConfig{draft: "none", cloudArgs: []string{"--target", target}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	code, out, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "-t", "0", "-n", "24", "Once upon a time")
	if code != 0 || !strings.Contains(out, "there was a little") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}

// quickStack is a cloud and an edge without delays.
func quickStack(t *testing.T, edgeArgs ...string) *stack {
	t.Helper()
	s, err := startStack(context.Background(), stackConfig{draft: models.DraftName, edgeArgs: edgeArgs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

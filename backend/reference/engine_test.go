package reference

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// data returns the path of a file in the shared data, or skips the test.
func data(t testing.TB, name string) string {
	t.Helper()
	p := filepath.Join("..", "..", "..", "shared", "data", "models", name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("the shared data is not here: %v", err)
	}
	return p
}

// engine loads a model with options given as key, value, ...
func engine(t testing.TB, model string, opts ...string) *Engine {
	t.Helper()
	o := map[string]string{}
	for i := 0; i < len(opts); i += 2 {
		o[opts[i]] = opts[i+1]
	}
	m, err := Load(t.Context(), model, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := m.(*Engine)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func tokens(t testing.TB, path string) *tokenizer.Tokenizer {
	t.Helper()
	f, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// forward runs one segment that must succeed.
func forward(t testing.TB, e *Engine, s backend.Segment) []speculative.Choice {
	t.Helper()
	r, err := e.Forward(context.Background(), []backend.Segment{s})
	if err != nil {
		t.Fatal(err)
	}
	if r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	return r[0].Choices
}

// draft collects what Draft emits.
func draft(t testing.TB, e *Engine, r backend.DraftRequest) []backend.Token {
	t.Helper()
	var out []backend.Token
	err := e.Draft(context.Background(), r, func(c speculative.Choice) bool {
		out = append(out, c.Token)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var greedy = &backend.Setup{}

// The expected text was written by llama2.c from the same weights at temperature 0.
func TestStories260KIsReproduced(t *testing.T) {
	path := data(t, "stories260K.gguf")
	want, err := os.ReadFile(data(t, "stories260K_upstream_expected.txt"))
	if err != nil {
		t.Fatal(err)
	}
	e, tok := engine(t, path), tokens(t, path)
	bos, _ := tok.BOS()
	out := draft(t, e, backend.DraftRequest{MaxTokens: 220, Segment: backend.Segment{Sequence: 1, Tokens: []backend.Token{bos}, Setup: greedy}})
	text := tok.Decode(out)
	if !strings.HasPrefix(text, strings.TrimSpace(string(want))) {
		t.Fatalf("got\n%s\nwant\n%s", text, want)
	}
}


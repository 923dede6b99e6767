package reference

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
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

// Every model at hand loads, runs, and says the same when its weights stay packed.
func TestAllModelsRun(t *testing.T) {
	if raceDetector {
		t.Skip("no concurrency in it")
	}
	data(t, "stories260K.gguf")
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "models", "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, models.TargetName, models.DraftName) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			e, tok := engine(t, path), tokens(t, path)
			prompt := tok.Encode("Once upon a time", tokenizer.Options{AddBOS: true})
			r := backend.DraftRequest{MaxTokens: 40, Segment: backend.Segment{Sequence: 1, Tokens: prompt, Setup: greedy}}
			out := draft(t, e, r)
			t.Logf("%s: %q", e.Info().Numerics, tok.Decode(out))
			if len(out) == 0 {
				t.Fatal("it says nothing")
			}
			if packed := draft(t, engine(t, path, "weights", "packed"), r); !slices.Equal(packed, out) {
				t.Fatalf("packed it says %q", tok.Decode(packed))
			}
		})
	}
}

// The draft of the shipped pair must be worth asking.
func TestPairAgrees(t *testing.T) {
	if raceDetector {
		t.Skip("no concurrency in it")
	}
	target, small, tok := engine(t, models.TargetName), engine(t, models.DraftName), tokens(t, models.TargetName)
	if target.Info().Vocabulary != small.Info().Vocabulary {
		t.Fatal("the pair has two vocabularies")
	}
	for _, setup := range []backend.Setup{{}, {Params: speculative.Params{Temperature: 0.7, Seed: 3}}} {
		same, all := 0, 0
		for i, text := range []string{"Once upon a time, there was a little girl named Lily.", "The cat wanted to", "Tom and Sara went to the park", "It was raining, and"} {
			seg := backend.Segment{Sequence: backend.Sequence(i), Tokens: tok.Encode(text, tokenizer.Options{AddBOS: true}), Setup: &setup}
			out := draft(t, target, backend.DraftRequest{Segment: seg, MaxTokens: 100})
			if i == 0 {
				t.Logf("temperature %g: %s%s", setup.Params.Temperature, text, tok.Decode(out))
			}
			seg.From = len(seg.Tokens) - 1
			seg.Tokens = append(seg.Tokens, out[:len(out)-1]...)
			for j, c := range forward(t, small, seg) {
				all++
				if c.Token == out[j] {
					same++
				}
			}
		}
		t.Logf("temperature %g: the draft agrees on %d of %d tokens", setup.Params.Temperature, same, all)
		if same*2 < all {
			t.Errorf("temperature %g: %d of %d tokens agree", setup.Params.Temperature, same, all)
		}
	}
}

package httpengine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/httpengine"
	"github.com/outrider-llm/outrider/backend/httpengine/fake"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/backend/sglang"
	"github.com/outrider-llm/outrider/backend/vllm"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loaders = map[string]backend.Loader{"vllm": vllm.Load, "sglang": sglang.Load}

// rig is a fake server over the demo draft, and the draft itself to compare with.
type rig struct {
	server *fake.Server
	http   *httptest.Server
	direct backend.Model
	tok    *tokenizer.Tokenizer
	file   string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	data, ok := models.Embedded(models.DraftName)
	if !ok {
		t.Fatal("no embedded model")
	}
	r := &rig{file: filepath.Join(t.TempDir(), "vocabulary.gguf")}
	if err := os.WriteFile(r.file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(r.file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	if r.tok, err = tokenizer.FromGGUF(f); err != nil {
		t.Fatal(err)
	}
	if r.direct, err = reference.Load(t.Context(), models.DraftName, nil, nil); err != nil {
		t.Fatal(err)
	}
	r.server = &fake.Server{Model: r.direct, Tok: r.tok, Name: "demo", Version: "0.11.0", Most: 20}
	r.http = httptest.NewServer(r.server)
	t.Cleanup(func() {
		r.http.Close()
		_ = r.direct.(*reference.Engine).Close()
	})
	return r
}

func (r *rig) load(t *testing.T, engine string, options ...string) *httpengine.Engine {
	t.Helper()
	m, err := r.try(t.Context(), engine, options...)
	if err != nil {
		t.Fatal(err)
	}
	e := m.(*httpengine.Engine)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func (r *rig) try(ctx context.Context, engine string, options ...string) (backend.Model, error) {
	o := map[string]string{"tokenizer": r.file, "retries": "1"}
	for i := 0; i+1 < len(options); i += 2 {
		o[options[i]] = options[i+1]
	}
	return loaders[engine](ctx, r.http.URL, o, nil)
}

func one(t *testing.T, m backend.Model, s backend.Segment) backend.Result {
	t.Helper()
	r, err := m.Forward(t.Context(), []backend.Segment{s})
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

// decode runs a model alone, one token at a time.
func decode(t *testing.T, m backend.Model, prompt []backend.Token, p speculative.Params, n int) []backend.Token {
	t.Helper()
	var out []backend.Token
	seg := backend.Segment{Sequence: 99, Tokens: prompt, From: len(prompt) - 1, Setup: &backend.Setup{Params: p, PromptLength: len(prompt)}}
	for range n {
		r := one(t, m, seg)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		c := r.Choices[0].Token
		out = append(out, c)
		seg = backend.Segment{Sequence: 99, Start: seg.Start + len(seg.Tokens), Tokens: []backend.Token{c}}
	}
	_ = m.Release(t.Context(), []backend.Sequence{99}) // cannot fail
	return out
}

// TestScoringEqualsTheModel: what is committed under random proposals is what the model itself says alone.
func TestScoringEqualsTheModel(t *testing.T) {
	r := newRig(t)
	for name := range loaders {
		t.Run(name, func(t *testing.T) {
			e := r.load(t, name)
			for i, p := range []speculative.Params{{}, {Temperature: 0.7, TopK: 20, Seed: 5}, {Temperature: 1, TopK: 8, Seed: 6},
				{Temperature: 1.3, TopK: 20, TopP: 0.9, Seed: 7}, {Temperature: 1, TopK: 12, MinP: 0.05, Seed: 8, Choice: 1}} {
				prompt := r.tok.Encode("Once upon a time there was a little dog", tokenizer.Options{AddBOS: true})
				want := decode(t, r.direct, prompt, p, 24)
				before, _ := e.Doubtful()
				if got := cooperate(t, e, prompt, p, want, uint64(i)); !slices.Equal(got, want) {
					t.Errorf("%+v: %v, the model alone says %v", p, got, want)
				}
				if after, all := e.Doubtful(); all < 24 || (p.TopK < 20 && after != before) {
					t.Errorf("%+v: %d of %d choices are doubtful", p, after-before, all)
				}
			}
		})
	}
}

// cooperate commits as many tokens as want has, with proposals that are right up to a random place.
func cooperate(t *testing.T, m backend.Model, prompt []backend.Token, p speculative.Params, want []backend.Token, seed uint64) []backend.Token {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	const seq = 3
	head := len(prompt) / 2 // the prompt comes in two chunks
	if r := one(t, m, backend.Segment{Sequence: seq, Tokens: prompt[:head], From: head, Setup: &backend.Setup{Params: p, PromptLength: len(prompt)}}); r.Err != nil || len(r.Choices) != 0 {
		t.Fatalf("%+v", r)
	}
	var got []backend.Token
	seg := backend.Segment{Sequence: seq, Start: head, Tokens: slices.Clone(prompt[head:]), From: len(prompt) - head - 1}
	for len(got) < len(want) {
		for i, right, n := len(got), rnd.IntN(4), rnd.IntN(6); i < min(len(got)+n, len(want)); i++ {
			x := want[i]
			if i-len(got) >= right {
				x = backend.Token(rnd.IntN(m.Info().VocabularySize))
			}
			seg.Tokens = append(seg.Tokens, x)
		}
		r := one(t, m, seg)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		proposed := seg.Tokens[seg.From+1:]
		for i, c := range r.Choices {
			got = append(got, c.Token)
			if i >= len(proposed) || proposed[i] != c.Token {
				break
			}
		}
		seg = backend.Segment{Sequence: seq, Start: len(prompt) + len(got) - 1, Tokens: []backend.Token{got[len(got)-1]}}
	}
	_ = m.Release(t.Context(), []backend.Sequence{seq}) // cannot fail
	return got[:len(want)]
}

func TestInfo(t *testing.T) {
	r := newRig(t)
	for name := range loaders {
		i := r.load(t, name).Info()
		if i.Engine != name || i.Numerics != name+" 0.11.0 demo" || i.Trees || i.Rules || i.Constraints || !i.ShapeDependent || i.Vocabulary != r.tok.Fingerprint() ||
			i.ContextLength >= r.direct.Info().ContextLength || i.VocabularySize != r.tok.Size() || len(i.EndTokens) == 0 {
			t.Errorf("%+v", i)
		}
	}
}

func TestSetupsThatTopTokensDoNotDetermine(t *testing.T) {
	r := newRig(t)
	for name, p := range map[string]speculative.Params{"penalties": {PresencePenalty: 1}, "logit_bias": {LogitBias: map[backend.Token]float32{5: 1}},
		"between 1 and 20": {Temperature: 1}, "top_k": {Temperature: 1, TopK: 21}} {
		seg := backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 50, 60}, From: 2, Setup: &backend.Setup{Params: p, PromptLength: 3}}
		if res := one(t, r.load(t, "vllm"), seg); !errors.Is(res.Err, backend.ErrInvalid) || !strings.Contains(res.Err.Error(), name) {
			t.Errorf("%s: %v", name, res.Err)
		}
		greedy := one(t, r.direct, backend.Segment{Sequence: 1, Tokens: seg.Tokens, From: 2, Setup: &backend.Setup{PromptLength: 3}})
		if res := one(t, r.load(t, "vllm", "sampling", "greedy"), seg); res.Err != nil || res.Choices[0].Token != greedy.Choices[0].Token {
			t.Errorf("%s, greedy: %+v", name, res)
		}
		res := one(t, r.load(t, "sglang", "sampling", "cut"), seg)
		if cut := p.Temperature != 0; (res.Err == nil) != cut {
			t.Errorf("%s, cut: %v", name, res.Err)
		}
	}
	e := r.load(t, "vllm", "sampling", "greedy")
	rule := backend.Segment{Sequence: 1, Tokens: []backend.Token{1}, Setup: &backend.Setup{Rule: speculative.Rule{Kind: speculative.Lenient}}}
	if res := one(t, e, rule); !errors.Is(res.Err, backend.ErrInvalid) {
		t.Errorf("lenient: %v", res.Err)
	}
}

func TestSegmentErrors(t *testing.T) {
	r := newRig(t)
	e := r.load(t, "vllm", "sequences", "2", "kv_tokens", "40", "context", "30")
	set := &backend.Setup{PromptLength: 1}
	one(t, e, backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 5, 6}, From: 3, Setup: set})
	for name, c := range map[string]struct {
		s    backend.Segment
		want error
	}{
		"unknown":  {backend.Segment{Sequence: 7, Start: 1, Tokens: []backend.Token{1}}, backend.ErrSequenceLost},
		"gap":      {backend.Segment{Sequence: 1, Start: 4, Tokens: []backend.Token{1}}, backend.ErrSequenceLost},
		"tree":     {backend.Segment{Sequence: 1, Start: 3, Tokens: []backend.Token{1}, Parents: []int32{-1}}, backend.ErrInvalid},
		"no setup": {backend.Segment{Sequence: 2, Tokens: []backend.Token{1}}, backend.ErrInvalid},
		"token":    {backend.Segment{Sequence: 1, Start: 3, Tokens: []backend.Token{-1}}, backend.ErrInvalid},
		"empty":    {backend.Segment{Sequence: 1, Start: 3}, backend.ErrInvalid},
		"context":  {backend.Segment{Sequence: 1, Start: 3, Tokens: make([]backend.Token, 28)}, backend.ErrContextFull},
	} {
		if res := one(t, e, c.s); !errors.Is(res.Err, c.want) {
			t.Errorf("%s: %v", name, res.Err)
		}
	}
	full := backend.Segment{Sequence: 2, Tokens: make([]backend.Token, 30), From: 30, Setup: set}
	if res := one(t, e, full); res.Err != nil {
		t.Error(res.Err)
	}
	if res := one(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: make([]backend.Token, 10), From: 10}); !errors.Is(res.Err, backend.ErrNoMemory) {
		t.Errorf("rows: %v", res.Err)
	}
	if res := one(t, e, backend.Segment{Sequence: 3, Tokens: []backend.Token{1}, From: 1, Setup: set}); !errors.Is(res.Err, backend.ErrNoMemory) {
		t.Errorf("sequences: %v", res.Err)
	}
	_ = e.Release(t.Context(), []backend.Sequence{2, 9}) // cannot fail
	if res := one(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: []backend.Token{8}}); res.Err != nil || len(res.Choices) != 1 {
		t.Errorf("after the errors: %+v", res)
	}
}

func TestFaults(t *testing.T) {
	r := newRig(t)
	seg := backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 5, 6}, From: 1, Setup: &backend.Setup{PromptLength: 3}}
	for name := range loaders {
		e := r.load(t, name, "timeout", "5s")
		r.server.Fail.Store(1)
		if res := one(t, e, seg); res.Err != nil {
			t.Errorf("%s: one failure is tried again: %v", name, res.Err)
		}
		r.server.Fail.Store(2)
		if _, err := e.Forward(t.Context(), []backend.Segment{seg}); !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("%s: two failures: %v", name, err)
		}
		r.server.Fail.Store(0)
		if res := one(t, e, backend.Segment{Sequence: 1, Start: 3, Tokens: []backend.Token{7}}); res.Err != nil {
			t.Errorf("%s: the sequence is as it was: %v", name, res.Err)
		}
	}
}

func TestAbort(t *testing.T) {
	r := newRig(t)
	e := r.load(t, "vllm")
	r.server.Delay = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	seg := backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 5}, Setup: &backend.Setup{PromptLength: 2}}
	if _, err := e.Forward(ctx, []backend.Segment{seg}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	for end := time.Now().Add(5 * time.Second); r.server.Aborted.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server still works on a request that nobody waits for")
		}
	}
}

func TestLoadErrors(t *testing.T) {
	r := newRig(t)
	r.server.Key = "secret"
	if _, err := r.try(t.Context(), "vllm"); !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), "api_key_file") {
		t.Errorf("no key: %v", err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.load(t, "sglang", "api_key_file", key)
	r.server.Key = ""
	for want, o := range map[string][]string{"only demo": {"model", "other"}, "no option": {"tok", "x"}, "strict": {"sampling", "loose"},
		"tokenizer is missing": {"tokenizer", ""}, "whole number": {"top", "many"}} {
		if _, err := r.try(t.Context(), "vllm", o...); !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := vllm.Load(t.Context(), "demo.gguf", map[string]string{"tokenizer": r.file}, nil); !errors.Is(err, backend.ErrLoad) {
		t.Errorf("no address: %v", err)
	}
	e := r.load(t, "vllm", "top", "21") // more than the server shows
	seg := backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 5}, Setup: &backend.Setup{PromptLength: 2}}
	if res := one(t, e, seg); !errors.Is(res.Err, backend.ErrInvalid) || !strings.Contains(res.Err.Error(), "max allowed") {
		t.Errorf("too many: %v", res.Err)
	}
	r.http.Close()
	if _, err := r.try(t.Context(), "vllm"); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("no server: %v", err)
	}
}

package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// vocabulary makes a SentencePiece tokenizer with the given pieces after the usual first ones.
func vocabulary(t *testing.T, score float32, pieces ...string) *tokenizer.Tokenizer {
	t.Helper()
	all := []string{"<unk>", "<s>", "</s>"}
	types := []int32{2, 3, 3}
	for i := range 256 {
		all, types = append(all, fmt.Sprintf("<0x%02X>", i)), append(types, 6)
	}
	for _, p := range pieces {
		kind := int32(1)
		if strings.HasPrefix(p, "[PAD") { // as the converters mark it
			kind = 5
		}
		all, types = append(all, p), append(types, kind)
	}
	scores := make([]float32, len(all))
	scores[len(all)-1] = score
	var b bytes.Buffer
	err := gguf.Write(&b, []gguf.KV{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.tokens", Value: all},
		{Key: "tokenizer.ggml.scores", Value: scores}, {Key: "tokenizer.ggml.token_type", Value: types}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestCompare(t *testing.T) {
	pads := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("[PAD%d]", 300+i))
		}
		return out
	}
	a := vocabulary(t, 0, "a", "b", "c")
	for _, c := range []struct {
		name          string
		target, draft *tokenizer.Tokenizer
		want          Fit
		text          string
	}{
		{"same", a, vocabulary(t, 0, "a", "b", "c"), Fit{Fits: true, Identical: true}, "same vocabulary"},
		{"target padded", vocabulary(t, 0, append([]string{"a", "b", "c"}, pads(5)...)...), a, Fit{Fits: true, Padding: 5}, "the other rows are padding (267 rows in the target, 262 in the draft)"},
		{"draft padded", a, vocabulary(t, 0, append([]string{"a", "b", "c"}, pads(2)...)...), Fit{Fits: true, Padding: 2}, "the other rows are padding (262 rows in the target, 264 in the draft)"},
		{"padded differently", vocabulary(t, 0, "a", "[PAD9]", "[PAD10]"), vocabulary(t, 0, "a", "<unused1>"), Fit{Fits: true, Padding: 1}, "padding"},
		{"more tokens", vocabulary(t, 0, "a", "b", "c", "d"), a, Fit{Fits: true, Extra: 1}, "1 more are in the target"},
		{"other rules", a, vocabulary(t, 1, "a", "b", "c"), Fit{Fits: true}, "rules"},
		{"other tokens", a, vocabulary(t, 0, "a", "x", "c"), Fit{Differ: 1}, `first 260: "b" and "x"`},
		{"shifted", a, vocabulary(t, 0, "x", "a", "b", "c"), Fit{Differ: 3, Extra: 1}, "different"},
	} {
		got := Compare(c.target, c.draft)
		text := got.Text
		got.Target, got.Draft, got.Text = 0, 0, ""
		if got != c.want || !strings.Contains(text, c.text) {
			t.Errorf("%s: %+v %q, want %+v %q", c.name, got, text, c.want, c.text)
		}
	}
}

func TestLength(t *testing.T) {
	y, n := true, false
	for _, c := range []struct {
		runs  [][]bool
		depth int
		want  float64
	}{
		{[][]bool{{n, n, n, n}}, 4, 1},
		{[][]bool{{y, y, y, y, y, y}}, 2, 3},
		{[][]bool{{y, y, n, y, n, n}}, 4, 2},       // 3, 2, 1
		{[][]bool{{y, y, y}, {n}}, 4, 2},           // 3, 1
		{[][]bool{{y, y, n, y, n, n}}, 1, 6.0 / 4}, // 2, 1, 2, 1
		{nil, 4, 0},
	} {
		if got := length(c.runs, c.depth); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v at depth %d: %g, want %g", c.runs, c.depth, got, c.want)
		}
	}
}

func mocked(t *testing.T, options map[string]string) backend.Model {
	t.Helper()
	m, err := mock.Load(t.Context(), "mock", options, func(float32) {})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// failing is a model that cannot run.
type failing struct{ backend.Model }

func (failing) Forward(context.Context, []backend.Segment) ([]backend.Result, error) {
	return []backend.Result{{Err: backend.ErrNoMemory}}, nil
}

func prompts(n, length int) [][]backend.Token {
	out := make([][]backend.Token, n)
	for i := range out {
		for k := range length {
			out[i] = append(out[i], backend.Token(1+i*31+k))
		}
	}
	return out
}

// TestMeasureFindsTheRate: the mock engine's draft agrees as often as it was told to.
func TestMeasureFindsTheRate(t *testing.T) {
	for _, want := range []float64{0, 0.6, 1} {
		target := mocked(t, nil)
		draft := mocked(t, map[string]string{"agreement": fmt.Sprint(want), "second": "1"})
		a, s, err := Measure(t.Context(), Config{Target: target, Draft: draft, Prompts: prompts(8, 300), Tokens: 100, Temperature: 0.7, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		if a.Tokens != 800 || math.Abs(a.Rate-want) > 0.06 || a.Agreed+a.Second != a.Tokens {
			t.Errorf("agreement %g: %+v", want, a)
		}
		// With independent agreement at rate r and depth d the mean length is (1-r^(d+1))/(1-r).
		expect := 5.0
		if want < 1 {
			expect = (1 - math.Pow(want, 5)) / (1 - want)
		}
		if math.Abs(a.Length[4]-expect) > 0.35 {
			t.Errorf("agreement %g: length %g, expected about %g", want, a.Length[4], expect)
		}
		if s.Target <= 0 || s.Draft <= 0 {
			t.Errorf("speeds %+v", s)
		}
	}
}

func TestMeasureLimits(t *testing.T) {
	target, small := mocked(t, nil), mocked(t, map[string]string{"context": "40"})
	a, _, err := Measure(t.Context(), Config{Target: target, Draft: small, Prompts: append(prompts(1, 30), prompts(1, 50)...), Tokens: 100})
	if err != nil || a.Tokens != 9 {
		t.Errorf("%+v %v: 40 - 30 - 1 tokens fit", a, err)
	}
	if _, _, err := Measure(t.Context(), Config{Target: target, Draft: small, Prompts: prompts(1, 50), Tokens: 1}); !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v", err)
	}
	ending := mocked(t, map[string]string{"end_after": "5"})
	a, _, err = Measure(t.Context(), Config{Target: ending, Draft: ending, Prompts: prompts(2, 10), Tokens: 100})
	if err != nil || a.Tokens < 8 || a.Tokens > 14 || a.Rate != 1 {
		t.Errorf("%+v %v: the end token is the last", a, err)
	}
	// A draft with fewer rows than the target: what it cannot know counts as a miss.
	few := mocked(t, map[string]string{"vocab": "1000", "vocabulary": "mock-32000"})
	a, _, err = Measure(t.Context(), Config{Target: target, Draft: few, Prompts: prompts(2, 10), Tokens: 20})
	if err != nil || a.Tokens != 40 || a.Rate > 0.2 {
		t.Errorf("%+v %v", a, err)
	}
	failing := failing{target}
	if _, _, err = Measure(t.Context(), Config{Target: target, Draft: failing, Prompts: prompts(9, 10), Tokens: 20}); !errors.Is(err, backend.ErrNoMemory) || !strings.Contains(err.Error(), "the draft") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = Measure(ctx, Config{Target: target, Draft: target, Prompts: prompts(1, 10), Tokens: 20}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestEmbeddedPair: the demo draft agrees with the demo target, with itself always.
func TestEmbeddedPair(t *testing.T) {
	load := func(name string) backend.Model {
		m, err := reference.Load(t.Context(), name, map[string]string{"threads": "1"}, func(float32) {})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	target, draft := load(models.TargetName), load(models.DraftName)
	b, _ := models.Embedded(models.TargetName)
	f, err := gguf.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	var ids [][]backend.Token
	for _, p := range workload.Stories(2) {
		ids = append(ids, tok.Encode(p, tokenizer.Options{AddBOS: tok.AddBOS()}))
	}
	for _, temperature := range []float32{0, 0.7} {
		self, _, err := Measure(t.Context(), Config{Target: target, Draft: target, Prompts: ids[:1], Tokens: 24, Temperature: temperature, Seed: 1})
		if err != nil || self.Rate != 1 {
			t.Errorf("the target drafts for itself: %+v %v", self, err)
		}
		a, _, err := Measure(t.Context(), Config{Target: target, Draft: draft, Prompts: ids, Tokens: 24, Temperature: temperature, Seed: 1})
		if err != nil || a.Rate < 0.3 || a.Rate == 1 {
			t.Errorf("%+v %v", a, err)
		}
		t.Logf("temperature %g: %+v", temperature, a)
	}
}

func TestPredict(t *testing.T) {
	cost := speculative.Cost{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond}
	ratio := func(rate float64, rtt, step time.Duration) float64 {
		e, ok := Predict(rate, rtt, cost, step)
		if !ok || e.Alone < 40 || e.Passes <= 0 {
			t.Fatalf("rate %g: %+v %v", rate, e, ok)
		}
		if e.Pays != (e.Ratio <= 0.97) {
			t.Errorf("%+v", e)
		}
		return e.Ratio
	}
	good, bad := ratio(0.8, 40*time.Millisecond, 4*time.Millisecond), ratio(0, 40*time.Millisecond, 4*time.Millisecond)
	if good > 0.62 || bad < 0.98 || bad > 1.03 {
		t.Errorf("good draft %.3f, useless draft %.3f", good, bad)
	}
	if slow := ratio(0.8, 40*time.Millisecond, 60*time.Millisecond); slow < good+0.1 {
		t.Errorf("a slow draft %.3f, a quick one %.3f", slow, good)
	}
}

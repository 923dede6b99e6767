package translate

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/pair"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// permuted is the demo draft with its ids shuffled: another vocabulary, the same model.
func permuted(t *testing.T) string {
	t.Helper()
	src, _ := models.Embedded(models.DraftName)
	f, err := gguf.NewReader(bytes.NewReader(src), int64(len(src)))
	if err != nil {
		t.Fatal(err)
	}
	pieces, _ := f.Strings("tokenizer.ggml.tokens")
	types, _ := f.Ints("tokenizer.ggml.token_type")
	to := rand.New(rand.NewPCG(1, 2)).Perm(len(pieces)) // old id to new
	newPieces, newTypes := make([]string, len(pieces)), make([]int32, len(pieces))
	for i, k := range to {
		newPieces[k], newTypes[k] = pieces[i], int32(types[i])
	}
	var kvs []gguf.KV
	for _, k := range f.Keys() {
		var v any
		switch k {
		case "tokenizer.ggml.tokens":
			v = newPieces
		case "tokenizer.ggml.token_type":
			v = newTypes
		case "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id":
			u, _ := f.Uint(k)
			v = uint32(to[u])
		default:
			v = value(f, k)
		}
		kvs = append(kvs, gguf.KV{Key: k, Value: v})
	}
	var tensors []gguf.Data
	for _, x := range f.Tensors() {
		raw, err := f.ReadTensor(x)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Dims) == 2 && int(x.Dims[1]) == len(pieces) {
			row := len(raw) / len(pieces)
			out := make([]byte, len(raw))
			for i, k := range to {
				copy(out[k*row:(k+1)*row], raw[i*row:])
			}
			raw = out
		}
		tensors = append(tensors, gguf.Data{Tensor: x, Raw: raw})
	}
	path := filepath.Join(t.TempDir(), "permuted.gguf")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := gguf.Write(out, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func value(f *gguf.File, k string) any {
	if s, ok := f.String(k); ok {
		return s
	}
	if b, ok := f.Bool(k); ok {
		return b
	}
	if s, ok := f.Strings(k); ok {
		return append([]string{}, s...)
	}
	if u, ok := f.Uint(k); ok {
		return uint32(u)
	}
	v, _ := f.Float(k)
	return float32(v)
}

func load(t testing.TB, path string) (backend.Model, *tokenizer.Tokenizer) {
	t.Helper()
	if _, embedded := models.Embedded(path); !embedded {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("no %s", filepath.Base(path))
		}
	}
	m, err := reference.Load(t.Context(), path, map[string]string{"threads": "1"}, func(float32) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.(interface{ Close() error }).Close() })
	return m, tokenizerOf(t, path)
}

func tokenizerOf(t testing.TB, path string) *tokenizer.Tokenizer {
	t.Helper()
	src, ok := models.Embedded(path)
	if !ok {
		var err error
		if src, err = os.ReadFile(path); err != nil {
			t.Skipf("no %s", filepath.Base(path))
		}
	}
	f, err := gguf.NewReader(bytes.NewReader(src), int64(len(src)))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func agreement(t *testing.T, target, draft backend.Model, tt *tokenizer.Tokenizer, temperature float32, n, tokens int) pair.Agreement {
	t.Helper()
	var prompts [][]backend.Token
	for _, s := range workload.Stories(n) {
		prompts = append(prompts, tt.Encode(s, tokenizer.Options{AddBOS: tt.AddBOS()}))
	}
	a, _, err := pair.Measure(t.Context(), pair.Config{Target: target, Draft: draft, Prompts: prompts, Tokens: tokens, Temperature: temperature, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// choiceOnly is an engine that does not tell log probabilities: nothing can be coupled.
type choiceOnly struct{ backend.Model }

func (c choiceOnly) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	r, err := c.Model.Forward(ctx, batch)
	for i := range r {
		r[i].Logprobs = nil
	}
	return r, err
}

// The demo draft with shuffled ids is worth as much as the draft itself, at temperature 1 thanks to
// the noise of the target's tokens.
func TestShuffledDraftIsAsGood(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the demo pair")
	}
	target, tt := load(t, models.TargetName)
	same, _ := load(t, models.DraftName)
	other, ot := load(t, permuted(t))
	for _, temperature := range []float32{0, 1} {
		a := agreement(t, target, same, tt, temperature, 6, 48)
		m := New(other, ot, tt)
		b := agreement(t, target, m, tt, temperature, 6, 48)
		c := agreement(t, target, New(choiceOnly{other}, ot, tt), tt, temperature, 6, 48)
		t.Logf("temperature %g: same vocabulary %.3f, shuffled %.3f, without coupling %.3f; %+v", temperature, a.Rate, b.Rate, c.Rate, m.Uses())
		if b.Rate < a.Rate-0.03 {
			t.Errorf("temperature %g: agreement %.3f, with the same vocabulary %.3f", temperature, b.Rate, a.Rate)
		}
		if u := m.Uses(); u.Drafted > u.Proposed {
			t.Errorf("%+v: the draft wrote more tokens than were proposed", u)
		}
	}
}

// Real pairs with other vocabularies, side by side with a pair of one.
func TestPairsOfOtherVocabularies(t *testing.T) {
	if testing.Short() {
		t.Skip("runs several pairs")
	}
	for _, p := range []struct {
		target, draft string
		least         [2]float64 // at temperature 0 and 1
	}{
		{"stories260K", "llama2xs", [2]float64{0.55, 0.5}}, // one vocabulary, for comparison
		{"stories260K", "bootstrap-draft-q8_0", [2]float64{0.6, 0.4}},
		{"bootstrap-target-q8_0", "bootstrap-draft-q8_0", [2]float64{0.65, 0.55}},
		{"bootstrap-target-q8_0", "stories260K", [2]float64{0.5, 0.3}},
		{"babyllama-tok361", "bootstrap-draft-q8_0", [2]float64{0.65, 0.45}},
	} {
		const dir = "../../../shared/data/models/"
		target, tt := load(t, dir+p.target+".gguf")
		draft, dt := load(t, dir+p.draft+".gguf")
		for i, temperature := range []float32{0, 1} {
			m := New(draft, dt, tt)
			a := agreement(t, target, m, tt, temperature, 5, 40)
			same := ""
			if tt.Fingerprint() == dt.Fingerprint() {
				b := agreement(t, target, draft, tt, temperature, 5, 40)
				same = " (untranslated " + pct(b.Rate) + ")"
			}
			t.Logf("%s drafts for %s at %g: %s%s, %+v", p.draft, p.target, temperature, pct(a.Rate), same, m.Uses())
			if a.Rate < p.least[i] {
				t.Errorf("agreement %.3f, want at least %.2f", a.Rate, p.least[i])
			}
		}
	}
}

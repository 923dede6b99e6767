//go:build verify

package llamacpp

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/engines"
	"github.com/outrider-llm/outrider/models"
)

// Both engines must compute the same model: greedy tokens agree but for near ties. Speeds are
// logged only.
func TestParityWithTheReferenceEngine(t *testing.T) {
	lib := libraries(t)
	c := engines.Config{First: reference.Load, Other: Load, Models: []string{models.TargetName, models.DraftName}, Types: []string{"f32", "f16"},
		FirstOptions: map[string]string{"threads": "1"}, Prompts: engines.Stories(4), Tokens: 64,
		OtherOptions: map[string]string{"threads": "1", "lib": lib, "kv_type_k": "f32", "kv_type_v": "f32", "gpu_layers": "0"}, Say: t.Logf}
	if os.Getenv("OUTRIDER_VERIFY") != "" {
		c.Prompts, c.Rows, c.Rounds = engines.Stories(100), []int{1, 4, 8, 16}, 40
		for _, name := range []string{"stories260K", "llama2xs", "babyllama-tok105", "babyllama-tok361", "llama-2-tiny-random"} {
			path := filepath.Join("..", "..", "..", "shared", "data", "models", name+".gguf")
			if _, err := os.Stat(path); err != nil {
				t.Logf("the shared data is not here: %v", err)
				continue
			}
			c.Models = append(c.Models, path)
		}
	}
	results, err := engines.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := engines.Print(testWriter{t}, results); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Error != "" {
			t.Errorf("%s %s: %s", r.Model, r.Type, r.Error)
			continue
		}
		// A gap that wide is no matter of rounding. With half-precision weights llama.cpp rounds the
		// activations to half precision, too.
		if widest := map[string]float64{"f32": 0.002, "f16": 0.01}[r.Type]; r.Parity.Widest() > widest || math.IsNaN(r.Parity.Widest()) {
			t.Errorf("%s %s: the engines part where the highest two logits differ by %g", r.Model, r.Type, r.Parity.Widest())
		}
		least := 95 * r.Parity.Prompts / 100
		if r.Model == "llama-2-tiny-random" {
			least = 90 * r.Parity.Prompts / 100 // random weights: its logits lie near each other
		}
		if r.Parity.Identical < least {
			t.Errorf("%s %s: %d of %d identical", r.Model, r.Type, r.Parity.Identical, r.Parity.Prompts)
		}
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("\n%s", b)
	return len(b), nil
}

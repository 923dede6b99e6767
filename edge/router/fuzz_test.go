package router

import (
	"errors"
	"math"
	"testing"
)

// FuzzParseModel: a routing model is refused with ErrModel, or scores any text.
func FuzzParseModel(f *testing.F) {
	f.Add(`{"bits":2,"words":[1,-1,0,2],"bias":0.5,"features":[{"fact":"tokens","mean":10,"scale":3,"weight":1}]}`, "Hello there")
	f.Add(`{"bits":-1}`, "")
	f.Add(`{"bits":21}`, "x")
	f.Fuzz(func(t *testing.T, model, text string) {
		m, err := ParseModel("m", []byte(model))
		if err != nil {
			if !errors.Is(err, ErrModel) {
				t.Fatal(err)
			}
			return
		}
		if s := m.Score(Facts{"tokens": 12.0}, text); math.IsNaN(s) || s < 0 || s > 1 {
			t.Fatalf("score %g", s)
		}
	})
}

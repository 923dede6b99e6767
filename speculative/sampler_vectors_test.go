package speculative

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
)

// chooseVectors is testdata/choose_v1.json.
type chooseVectors struct {
	Definition []string       `json:"definition"`
	Vectors    []chooseVector `json:"vectors"`
}

type chooseVector struct {
	Temperature       float32            `json:"temperature,omitempty"`
	TopK              int                `json:"top_k,omitempty"`
	TopP              float32            `json:"top_p,omitempty"`
	MinP              float32            `json:"min_p,omitempty"`
	RepetitionPenalty float32            `json:"repetition_penalty,omitempty"`
	PresencePenalty   float32            `json:"presence_penalty,omitempty"`
	FrequencyPenalty  float32            `json:"frequency_penalty,omitempty"`
	LogitBias         map[string]float32 `json:"logit_bias,omitempty"`
	Seed              string             `json:"seed"`
	Choice            uint32             `json:"choice,omitempty"`
	PromptLength      int                `json:"prompt_length"`
	Log               []Token            `json:"log"`
	Logits            []number           `json:"logits"`
	Token             Token              `json:"token"`
	Second            Token              `json:"second"`
	Confidence        float32            `json:"confidence"` // to about 1e-6
}

// number is a float32 that may be "nan", "inf" or "-inf".
type number float32

func (n number) MarshalJSON() ([]byte, error) {
	switch f := float64(n); {
	case math.IsNaN(f):
		return []byte(`"nan"`), nil
	case math.IsInf(f, 1):
		return []byte(`"inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-inf"`), nil
	}
	return json.Marshal(float32(n))
}

func (n *number) UnmarshalJSON(b []byte) error {
	text := string(b)
	if s, err := strconv.Unquote(text); err == nil {
		text = s
	}
	f, err := strconv.ParseFloat(text, 32)
	*n = number(f)
	return err
}

var chooseDefinition = []string{
	"All parameters but top_k, seed and choice are float32 values.",
	"Penalties and bias work on the logits in float32, one rounding per operation, no fused multiply-add.",
	"A token that occurs in the log: logit > 0 ? logit / repetition_penalty : logit * repetition_penalty.",
	"A token that occurs n > 0 times at or after prompt_length: logit -= presence_penalty + frequency_penalty * n.",
	"Then logit += logit_bias. NaN and minus infinity are dropped here, plus infinity counts as the largest float32.",
	"At temperature 0: the largest logit, ties to the lower id. Otherwise in float64: x = logit * (1 / temperature).",
	"top_k: the k largest x, ties to the lower id. top_p: of these by falling x the shortest run whose sum of exp(x - max x) is at least top_p times the sum over all of these. min_p: of these those with x >= max x + ln(min_p).",
	"The choice is the largest x + noise (noise_v1.json; position = length of the log), ties to the lower id; second is the runner-up or -1; confidence = 1 / (1 + exp(score(second) - score(token))).",
	"With nothing left the choice is token 0, confidence 0.5, second -1. Zero or absent parameters are off.",
}

func TestChooseVectors(t *testing.T) {
	path := filepath.Join("testdata", "choose_v1.json")
	if *writeVectors {
		writeVectorFile(t, path, chooseDefinition, makeChooseVectors())
	}
	var file chooseVectors
	readJSON(t, path, &file)
	if len(file.Vectors) < 100 {
		t.Fatalf("%d vectors, want at least 100", len(file.Vectors))
	}
	for i, v := range file.Vectors {
		c, err := v.toCase()
		if err != nil {
			t.Fatal(err)
		}
		want := Choice{Token: v.Token, Second: v.Second, Confidence: v.Confidence}
		if got := c.run(); !sameChoice(got, want) {
			t.Errorf("vector %d: got %+v, want %+v", i, got, want)
		}
		if got := slowChoose(c.p, c.promptLen, c.log, c.logits); !sameChoice(got, want) {
			t.Errorf("vector %d: from the definition %+v, want %+v", i, got, want)
		}
	}
}

func (v chooseVector) toCase() (chooseCase, error) {
	seed, err := strconv.ParseUint(v.Seed, 10, 64)
	c := chooseCase{promptLen: v.PromptLength, log: v.Log, p: Params{Temperature: v.Temperature, TopK: v.TopK, TopP: v.TopP,
		MinP: v.MinP, RepetitionPenalty: v.RepetitionPenalty, PresencePenalty: v.PresencePenalty,
		FrequencyPenalty: v.FrequencyPenalty, Seed: seed, Choice: v.Choice}}
	for k, b := range v.LogitBias {
		id, e := strconv.Atoi(k)
		if e != nil {
			return c, fmt.Errorf("logit_bias of %q: %w", k, e)
		}
		if c.p.LogitBias == nil {
			c.p.LogitBias = map[Token]float32{}
		}
		c.p.LogitBias[Token(id)] = b
	}
	for _, l := range v.Logits {
		c.logits = append(c.logits, float32(l))
	}
	return c, err
}

func makeChooseVectors() []chooseVector {
	r := rand.New(rand.NewPCG(15, 16))
	var out []chooseVector
	for len(out) < 120 {
		c := randomCase(r)
		if len(c.logits) > 24 {
			continue
		}
		want := slowChoose(c.p, c.promptLen, c.log, c.logits)
		v := chooseVector{c.p.Temperature, c.p.TopK, c.p.TopP, c.p.MinP, c.p.RepetitionPenalty, c.p.PresencePenalty,
			c.p.FrequencyPenalty, nil, strconv.FormatUint(c.p.Seed, 10), c.p.Choice, c.promptLen, append([]Token{}, c.log...), nil,
			want.Token, want.Second, want.Confidence}
		for id, b := range c.p.LogitBias {
			if v.LogitBias == nil {
				v.LogitBias = map[string]float32{}
			}
			v.LogitBias[strconv.Itoa(int(id))] = b
		}
		for _, l := range c.logits {
			v.Logits = append(v.Logits, number(l))
		}
		out = append(out, v)
	}
	return out
}

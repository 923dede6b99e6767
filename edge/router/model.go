package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Model is a learned score: logistic over facts and, where it was trained on texts, over hashed words and
// pairs of words of the prompt. It says how likely the draft's answer is good enough.
type Model struct {
	Features []Feature `json:"features"`
	Bias     float64   `json:"bias"`
	// Bits of the hash of words; 0: the prompt's text does not count.
	Bits  int       `json:"bits,omitempty"`
	Words []float64 `json:"words,omitempty"`
	// Thresholds by wanted share of answers with the cloud: below the threshold an answer goes there.
	Thresholds []Threshold `json:"thresholds,omitempty"`
	Examples   int         `json:"examples"`
}

// Feature is a fact's weight. A number counts as (value-Mean)/Scale, a flag as 1 or 0, a word as 1 where it
// is Value; what is unknown counts 0.
type Feature struct {
	Fact   string  `json:"fact"`
	Value  string  `json:"value,omitempty"`
	Mean   float64 `json:"mean,omitempty"`
	Scale  float64 `json:"scale,omitempty"`
	Weight float64 `json:"weight"`
}

// Threshold is the score below which the wanted share of answers lies.
type Threshold struct {
	Share float64 `json:"share"`
	Score float64 `json:"score"`
}

// ErrModel says that a model file is not valid.
var ErrModel = errors.New("invalid routing model")

const maxBits = 20

// ParseModel reads a model; file is its name in errors, which wrap ErrModel.
func ParseModel(file string, text []byte) (*Model, error) {
	m := &Model{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w: make it with `outrider router train`", ErrModel, file, err)
	}
	if m.Bits < 0 || m.Bits > maxBits || m.Bits > 0 && len(m.Words) != 1<<m.Bits || m.Bits == 0 && len(m.Words) > 0 {
		return nil, fmt.Errorf("%w: %s has %d weights of words for %d bits", ErrModel, file, len(m.Words), m.Bits)
	}
	for _, f := range m.Features {
		if !slices.ContainsFunc(catalogue[:], func(c Fact) bool { return c.Name == f.Fact }) {
			return nil, fmt.Errorf("%w: %s rests on the fact %q, which there is not", ErrModel, file, f.Fact)
		}
	}
	return m, nil
}

// value of a feature under facts; 0 when it is not known.
func (w *Feature) value(f Facts) float64 {
	switch v := f[w.Fact].(type) {
	case float64:
		if w.Scale > 0 && !math.IsNaN(v) {
			return max(-4, min(4, (v-w.Mean)/w.Scale))
		}
	case bool:
		if v {
			return 1
		}
	case string:
		if v == w.Value {
			return 1
		}
	}
	return 0
}

// Score is between 0 and 1. text is the prompt's, empty when it is not to count.
func (m *Model) Score(f Facts, text string) float64 {
	z := m.Bias
	for i := range m.Features {
		z += m.Features[i].Weight * m.Features[i].value(f)
	}
	if m.Bits > 0 && text != "" {
		for _, w := range wordsOf(text, m.Bits) {
			z += m.Words[w.at] * w.weight
		}
	}
	return sigmoid(z)
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

type word struct {
	at     int
	weight float64
}

// wordsOf hashes a text's words and pairs of words, each counted once; the vector has length 1.
func wordsOf(text string, bits int) []word {
	fields := strings.FieldsFunc(strings.ToLower(head(text)), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	var out []word
	add := func(parts ...string) {
		h := fnv.New64a()
		for _, p := range parts {
			_, _ = h.Write([]byte(p)) // never fails
			_, _ = h.Write([]byte{0})
		}
		out = append(out, word{at: int(h.Sum64() >> (64 - bits))})
	}
	for i, w := range fields {
		add(w)
		if i > 0 {
			add(fields[i-1], w)
		}
	}
	slices.SortFunc(out, func(a, b word) int { return a.at - b.at })
	out = slices.CompactFunc(out, func(a, b word) bool { return a.at == b.at })
	for i := range out {
		out[i].weight = 1 / math.Sqrt(float64(len(out)))
	}
	return out
}

// Record is the outcome of an answer, for training: facts, never text.
type Record struct {
	Facts Facts  `json:"facts"`
	Where string `json:"where"`
	// Agreement is the share of the draft's choices that were the target's, of Tokens compared.
	Agreement float64 `json:"agreement"`
	Tokens    int     `json:"tokens"`
}

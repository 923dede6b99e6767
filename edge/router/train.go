package router

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Example is an answer whose worth is known.
type Example struct {
	Facts Facts
	Text  string // of the prompt; empty: it does not count
	Group string // what it belongs to, such as a subject
	// Weak and Strong are the worth of the draft's and the target's answers, 0 to 1.
	Weak, Strong float64
}

// good says how far the draft's answer was good enough: as good as the target's.
func (e *Example) good() float64 { return min(1, max(0, 1-(e.Strong-e.Weak))) }

// TextFacts are what a prompt's looks tell.
func TextFacts(text string) Facts {
	return Facts{"prompt.kind": KindOf(text), "prompt.language": LanguageOf(text)}
}

// FromRecord makes examples of a recorded outcome: one as known at the end, one as known at the beginning.
func FromRecord(r Record) []Example {
	late := Example{Facts: r.Facts, Weak: r.Agreement, Strong: 1}
	early := Example{Facts: Facts{}, Weak: r.Agreement, Strong: 1}
	for name, v := range r.Facts {
		if !strings.HasPrefix(name, "draft.") || name == "draft.agreement" {
			early.Facts[name] = v
		}
	}
	return []Example{early, late}
}

// Training bounds how a model is made. Zero values mean the defaults.
type Training struct {
	Bits   int     // of the hash of words; 0: words do not count
	Epochs int     // default 8
	Rate   float64 // default 0.3
	Decay  float64 // of weights, per example; default 1e-3
	Seed   uint64
}

// ErrExamples says that there is too little to learn from.
var ErrExamples = errors.New("too few examples: record at least 20 outcomes, good ones and others")

// leastExamples to learn from.
const leastExamples = 20

// Train makes a model by logistic regression: AdaGrad over the examples in an order that the seed fixes.
func Train(examples []Example, t Training) (*Model, error) {
	if len(examples) < leastExamples {
		return nil, ErrExamples
	}
	if t.Epochs == 0 {
		t.Epochs = 8
	}
	if t.Rate == 0 {
		t.Rate = 0.3
	}
	if t.Decay == 0 {
		t.Decay = 1e-3
	}
	m := &Model{Features: featuresOf(examples), Bits: t.Bits, Examples: len(examples)}
	if t.Bits > 0 {
		m.Words = make([]float64, 1<<t.Bits)
	}
	l := newLearner(m, examples)
	order := make([]int, len(examples))
	for i := range order {
		order[i] = i
	}
	rng := rand.New(rand.NewPCG(t.Seed, 1))
	for range t.Epochs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			l.step(i, &t)
		}
	}
	for i := range m.Words { // to three digits: what is smaller moves no decision
		m.Words[i] = math.Round(m.Words[i]*1000) / 1000
	}
	return m, nil
}

// learner holds what the steps need: values once computed, and the sums of squared gradients.
type learner struct {
	m      *Model
	x      [][]float64
	words  [][]word
	y      []float64
	sums   []float64
	wsums  []float64
	biased float64
}

func newLearner(m *Model, examples []Example) *learner {
	l := &learner{m: m, sums: make([]float64, len(m.Features)), wsums: make([]float64, len(m.Words))}
	for i := range examples {
		e := &examples[i]
		x := make([]float64, len(m.Features))
		for j := range m.Features {
			x[j] = m.Features[j].value(e.Facts)
		}
		var w []word
		if m.Bits > 0 {
			w = wordsOf(e.Text, m.Bits)
		}
		l.x, l.words, l.y = append(l.x, x), append(l.words, w), append(l.y, e.good())
	}
	return l
}

// step moves the weights along the gradient of one example.
func (l *learner) step(i int, t *Training) {
	z := l.m.Bias
	for j, v := range l.x[i] {
		z += l.m.Features[j].Weight * v
	}
	for _, w := range l.words[i] {
		z += l.m.Words[w.at] * w.weight
	}
	g := sigmoid(z) - l.y[i]
	move := func(weight, sum *float64, v float64) {
		d := g*v + t.Decay**weight
		*sum += d * d
		*weight -= t.Rate * d / (1e-6 + math.Sqrt(*sum))
	}
	for j, v := range l.x[i] {
		if v != 0 {
			move(&l.m.Features[j].Weight, &l.sums[j], v)
		}
	}
	for _, w := range l.words[i] {
		move(&l.m.Words[w.at], &l.wsums[w.at], w.weight)
	}
	l.biased += g * g
	l.m.Bias -= t.Rate * g / (1e-6 + math.Sqrt(l.biased))
}

// leastSeen is how many examples must have a word for it to become a feature.
const leastSeen = 5

// featuresOf lists what varies among the examples.
func featuresOf(examples []Example) []Feature {
	var out []Feature
	for _, f := range catalogue {
		switch f.Kind {
		case Number:
			if f.Name != "score" && f.Name != "threshold" && f.Name != "lot" {
				out = append(out, numberFeature(f.Name, examples)...)
			}
		case Flag:
			yes, known := 0, 0
			for _, e := range examples {
				if v, ok := e.Facts[f.Name].(bool); ok {
					if known++; v {
						yes++
					}
				}
			}
			if yes > 0 && yes < known {
				out = append(out, Feature{Fact: f.Name})
			}
		case Word:
			counts := map[string]int{}
			for _, e := range examples {
				if v, ok := e.Facts[f.Name].(string); ok {
					counts[v]++
				}
			}
			var values []string
			for v, n := range counts {
				if n >= leastSeen && n < len(examples) {
					values = append(values, v)
				}
			}
			slices.Sort(values)
			for _, v := range values {
				out = append(out, Feature{Fact: f.Name, Value: v})
			}
		}
	}
	return out
}

func numberFeature(name string, examples []Example) []Feature {
	sum, squares, n := 0.0, 0.0, 0.0
	for _, e := range examples {
		if v, ok := e.Facts[name].(float64); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			sum, squares, n = sum+v, squares+v*v, n+1
		}
	}
	if n < leastSeen {
		return nil
	}
	mean := sum / n
	scale := math.Sqrt(max(0, squares/n-mean*mean))
	if !(scale > 1e-9*math.Abs(mean)) {
		return nil // it does not vary
	}
	return []Feature{{Fact: name, Mean: mean, Scale: scale}}
}

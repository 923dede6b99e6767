package simulation

import (
	"math"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/speculative"
)

// Token is an id in the synthetic vocabulary.
type Token = speculative.Token

// endToken ends a generation.
const endToken Token = 0

// World is a pair of synthetic models: what they choose is a function of the hash of all tokens before.
type World struct {
	Seed       uint64
	Vocabulary int
	EndRate    float64 // how often the target chooses the end token
	Agree      float64 // how often the draft's first choice is the target's
	Cover      float64 // how often, of the rest, its second choice is
	// Lenient is how often the target takes another token than its choice when that is proposed: what it
	// says then depends on what it is asked, as under any rule but coupled. I1 is then that edge and
	// cloud have one log, in which every token is the target's choice or one that it may take.
	Lenient float64
	// Own is how often what the cloud itself proposes is right; what it says of that is not to be relied on.
	Own float64
}

// hash of a token sequence.
type hash uint64

func mix(a, b uint64) uint64 {
	x := a*0x9E3779B97F4A7C15 + b*0xD1B54A32D192ED03 + 0x632BE59BD9B4E019
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func unit(x uint64) float64 { return float64(x>>11) * 0x1p-53 }

func (h hash) push(t Token) hash { return hash(mix(uint64(h), uint64(uint32(t))+1)) }

func hashOf(log []Token) hash {
	h := hash(0)
	for _, t := range log {
		h = h.push(t)
	}
	return h
}

// target is the large model's choice after a sequence.
func (w *World) target(h hash) Token {
	x := mix(uint64(h), w.Seed^1)
	if unit(mix(x, 2)) < w.EndRate {
		return endToken
	}
	return 1 + Token(x%uint64(w.Vocabulary-1))
}

// takes says whether the target, by a rule that is not coupled, may take a token after a sequence.
func (w *World) takes(h hash, t Token) bool {
	return w.Lenient > 0 && unit(mix(uint64(h.push(t)), w.Seed^7)) < w.Lenient
}

// judge is the target's choice after a sequence for which tokens are proposed.
func (w *World) judge(h hash, proposed []Token) Token {
	t := w.target(h)
	if slices.Contains(proposed, t) {
		return t
	}
	for _, x := range proposed {
		if w.takes(h, x) {
			return x
		}
	}
	return t
}

// draft is the small model's choice after a sequence.
func (w *World) draft(h hash) speculative.Choice {
	t := w.target(h)
	other := Token(mix(uint64(h), w.Seed^5) % uint64(w.Vocabulary))
	skip := func() {
		for other = (other + 1) % Token(w.Vocabulary); other == t; other = (other + 1) % Token(w.Vocabulary) {
		}
	}
	skip()
	c := speculative.Choice{Token: other, Second: t, Confidence: float32(0.5 + 0.5*w.Agree*unit(mix(uint64(h), w.Seed^6)))}
	switch {
	case unit(mix(uint64(h), w.Seed^3)) < w.Agree:
		c.Token, c.Second = t, other
	case unit(mix(uint64(h), w.Seed^4)) >= w.Cover:
		skip()
		c.Second = other
	}
	return c
}

// own is what the cloud itself proposes: a token or nothing, with any confidence, often told wrongly.
func (w *World) own(log, path []Token) (speculative.Choice, bool) {
	h := hashOf(log)
	for _, t := range path {
		h = h.push(t)
	}
	x := mix(uint64(h), w.Seed^8)
	c := speculative.Choice{Token: Token(x % uint64(w.Vocabulary)), Confidence: float32(2*unit(mix(x, 1)) - 0.3)}
	switch {
	case unit(mix(x, 2)) < w.Own:
		c.Token = w.target(h)
	case unit(mix(x, 3)) < 0.05:
		c.Token = -1 - c.Token
	case unit(mix(x, 4)) < 0.05:
		c.Confidence = float32(math.NaN())
	}
	return c, unit(mix(x, 5)) < 0.9
}

// piece is a token's text, for stop strings.
func piece(t Token) []byte { return []byte{'a' + byte(t%7), 'a' + byte(t%5)} }

// alone is what the target says with nobody's help: the log that every run must reproduce.
func (w *World) alone(prompt []Token, maxLength int, stop []string) []Token {
	log := append([]Token{}, prompt...)
	h, text := hashOf(log), ""
	for len(log) < maxLength {
		t := w.target(h)
		log, h = append(log, t), h.push(t)
		if t == endToken {
			break
		}
		text += string(piece(t))
		for _, s := range stop {
			if strings.Contains(text, s) {
				return log
			}
		}
	}
	return log
}

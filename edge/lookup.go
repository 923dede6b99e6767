package edge

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/outrider-llm/outrider/drafter/lookup"
	"github.com/outrider-llm/outrider/drafter/suffix"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Lookup says when what a session's own text says is proposed.
type Lookup uint8

// The values of Lookup.
const (
	LookupAuto   Lookup = iota // beside a draft where it is as good, and for predictions
	LookupOff                  // never; predictions are ignored
	LookupAlways               // also without a draft
)

// ParseLookup reads auto, off or always.
func ParseLookup(s string) (Lookup, error) {
	for l := LookupAuto; l <= LookupAlways; l++ {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("lookup %q is unknown: use auto, off or always", s)
}

func (l Lookup) String() string { return [...]string{"auto", "off", "always"}[min(l, 2)] }

// Bounds on a prediction: what a target can say.
const (
	maxPredicted      = 1 << 17 // tokens, for a target whose context is not known
	bytesPerPredicted = 8       // more text than that is not looked at
)

// source is a session's source of proposals besides the draft.
type source struct {
	l         *lookup.Lookup
	told      int              // length of the log that it knows
	predicted map[int]Token    // proposed from the prediction, by position
	quiet     bool             // only earlier answers are asked
	earlier   *suffix.Follower // knows earlier answers; nil: nobody does
	end       []Token          // buffer
	proposed  map[int]guessed  // by position
}

// lookup makes the session's source; without one it stays nil.
func (s *session) lookup() {
	c := &s.e.c
	if c.Depth < 0 || s.r.NoDraft {
		return
	}
	earlier := s.earlier()
	quiet := c.Lookup == LookupOff || s.voc.draft == nil && c.Lookup != LookupAlways && s.r.Prediction == ""
	if quiet && earlier == nil {
		return
	}
	s.look = &source{told: len(s.prompt), predicted: map[int]Token{}, quiet: quiet, earlier: earlier, proposed: map[int]guessed{}}
	if quiet {
		s.look.l = lookup.New(nil, nil)
	} else {
		s.look.l = lookup.New(s.prompt, s.prediction())
	}
}

// prediction is the request's in tokens, as far as the target could say it.
func (s *session) prediction() []Token {
	text := s.r.Prediction
	if text == "" {
		return nil
	}
	limit := maxPredicted
	if n := s.e.link.contextOf(s.r.Model); n > 0 {
		limit = n
	}
	if most := limit * bytesPerPredicted; len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	t := s.voc.tok.Encode(text, tokenizer.Options{Continue: true})
	return t[:min(len(t), limit)]
}

// leastGuess is the confidence below which a guess is not worth a row of the target's pass.
const leastGuess = 0.1

// hidden: a draft that takes no more than one in so many of the time of a round trip and a pass drafts
// while they go on.
const hidden = 8

// guess lets the proposer have what the source knows better than the draft, cost included.
func (s *session) guess() {
	log := s.p.Log()
	if s.begun != nil && s.alone == nil {
		s.p.Guess(func(path []Token) (speculative.Choice, bool) { return s.begun.guess(log, path) })
	}
	if s.look == nil || s.alone != nil {
		return
	}
	s.look.tell(log)
	least := s.leastGuess()
	s.p.Guess(func(path []Token) (speculative.Choice, bool) {
		g, ok := s.look.best(log, path)
		if !ok || g.sure < least {
			return speculative.Choice{}, false
		}
		s.sum.LookedUp++
		s.look.proposed[len(log)+len(path)] = g
		if g.source == SourcePrediction {
			s.predict(len(log)+len(path), g.token)
		}
		return speculative.Choice{Token: g.token, Confidence: float32(g.sure), Second: -1}, true
	})
}

// leastGuess is the share of right guesses from which on they are better than the draft's. Tokens that
// are right at a rate a and take d each come, with a time r from a wrong one to the next, at one in
// (1-a)r + a·d; a guess takes no time. What the draft does while the target works anyway is free, too.
func (s *session) leastGuess() float64 {
	if s.d == nil {
		return leastGuess
	}
	a, d := s.p.DraftWorth()
	r := time.Duration(s.e.link.rtt.Load()) + mean(s.passes.allTime, s.passes.all)
	if d -= r / hidden; r > 0 && d > 0 {
		a -= a * min(1, float64(d)/float64(r))
	}
	return max(a, leastGuess)
}

// predict notes that the prediction says t at a position.
func (s *session) predict(position int, t Token) {
	if had, ok := s.look.predicted[position]; ok && had != t {
		s.sum.PredictionRejected++
	}
	s.look.predicted[position] = t
}

// settle counts what became of predicted tokens as t is committed.
func (s *session) settle(position int, t Token) {
	if s.look == nil {
		return
	}
	if g, ok := s.look.proposed[position]; ok {
		n := &s.sum.Sources[g.source]
		if n.Proposed++; g.token == t {
			n.Accepted++
		}
		delete(s.look.proposed, position)
	}
	switch p, ok := s.look.predicted[position]; {
	case !ok:
	case p == t:
		s.sum.PredictionAccepted++
	default:
		s.sum.PredictionRejected++
	}
	delete(s.look.predicted, position)
}

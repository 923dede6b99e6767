// Package lookup proposes what a session's own text says: after tokens that stood in the log before
// comes what came then (prompt lookup), and where the user says what the answer will be like, that is
// followed (prediction). Either costs next to no time. How often each is right is measured on every
// committed token, whether it was asked or not, by how long the match is.
//
// It holds: a guess depends on the log, the path and the prediction only; Guess leaves no trace.
package lookup

import (
	"slices"

	"github.com/outrider-llm/outrider/drafter"
	"github.com/outrider-llm/outrider/speculative"
)

// Token is an id in the target's vocabulary.
type Token = speculative.Token

// Source says where a guess comes from.
type Source uint8

// The sources.
const (
	Log        Source = iota // the prompt and what was generated
	Prediction               // the text that was expected
)

// Guess is a token that may come next.
type Guess struct {
	Token      Token
	Confidence float64 // share of such guesses that were right
	Source     Source
	class      int // of the match, by its length
}

// Lookup follows one session. Owned by one goroutine.
type Lookup struct {
	log    []Token
	index  index
	follow follower // of the prediction, after log
	rates  [2][classes]drafter.Rate
}

// New begins with a prompt; prediction may be empty. Neither is kept.
func New(prompt, prediction []Token) *Lookup {
	l := &Lookup{log: slices.Clone(prompt)}
	l.index.add(l.log)
	l.follow.text = slices.Clone(prediction)
	l.follow.index.add(l.follow.text)
	l.follow.run = 4 // who begins as predicted goes on so
	return l
}

// Commit appends committed tokens and learns from them.
func (l *Lookup) Commit(tokens []Token) {
	for _, t := range tokens {
		if g, ok := l.recall(l.log); ok {
			l.rates[Log][g.class].Observe(g.Token == t)
		}
		if g, ok := l.predict(&l.follow); ok {
			l.rates[Prediction][g.class].Observe(g.Token == t)
		}
		l.log = append(l.log, t)
		l.index.add(l.log)
		l.follow.advance(l.log)
	}
}

// Guess returns the likeliest token after the log and path, false when nothing is known of it.
func (l *Lookup) Guess(path []Token) (Guess, bool) {
	n := len(l.log)
	full := append(l.log, path...)
	l.log = full[:n] // keeps the room
	best, ok := l.recall(full)
	f := l.follow
	for i := range path {
		f.advance(full[:n+i+1])
	}
	if g, found := l.predict(&f); found && (!ok || g.Confidence >= best.Confidence) {
		best, ok = g, true
	}
	return best, ok
}

// recall guesses by what came after the longest earlier match of the end of full, which begins with
// the log.
func (l *Lookup) recall(full []Token) (Guess, bool) {
	end, length := l.index.last(full)
	if length == 0 {
		return Guess{}, false
	}
	return l.guess(Log, full[end], classOf(length)), true
}

func (l *Lookup) predict(f *follower) (Guess, bool) {
	t, class, ok := f.next()
	if !ok {
		return Guess{}, false
	}
	return l.guess(Prediction, t, class), true
}

func (l *Lookup) guess(s Source, t Token, class int) Guess {
	return Guess{Token: t, Confidence: l.rates[s][class].Of(priors[s][class]), Source: s, class: class}
}

// Classes of matches by their length. The last one is the beginning of a prediction.
const (
	begin   = 9
	classes = 10
)

func classOf(length int) int {
	switch {
	case length < 5:
		return length
	case length < 8:
		return 5
	case length < 12:
		return 6
	case length < 20:
		return 7
	}
	return 8
}

// priors are the rates to begin with, by class.
var priors = [2][classes]float64{
	Log:        {0, 0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0},
	Prediction: {0.2, 0.35, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.6},
}

package speculative

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Guesses go as deep as their source knows and are probable; then the draft is asked, and only what the
// draft said counts for it.
func TestGuessBeforeTheDraft(t *testing.T) {
	p := NewProposer(ProposerConfig{}, []Token{1})
	p.LinkUp(0)
	known := []Token{2, 3, 4}
	source := func(path []Token) (Choice, bool) {
		if len(path) >= len(known) {
			return Choice{}, false
		}
		return Choice{Token: known[len(path)], Confidence: 0.9}, true
	}
	p.Guess(source)
	r := p.Ready(time.Second)
	if r.Draft == nil || !slices.Equal(r.Draft.Path, known) || p.Stats().Guessed != 3 {
		t.Fatalf("%+v, %+v", r.Draft, p.Stats())
	}
	p.Drafted(r.Draft.ID, Choice{Token: 5, Confidence: 0.5, Second: -1}, 20*time.Millisecond)
	after := p.Ready(2 * time.Second)
	if r.Send == nil || after.Send == nil || !slices.Equal(r.Send.Tokens, known) || !slices.Equal(after.Send.Tokens, []Token{5}) {
		t.Fatalf("%+v, then %+v", r.Send, after.Send)
	}
	before, took := p.DraftWorth()
	if err := p.Commit(Commit{Start: 1, Tokens: []Token{2, 3, 4}, Fates: []Fate{Accepted, Accepted, Accepted}}); err != nil {
		t.Fatal(err)
	}
	if now, _ := p.DraftWorth(); now != before || took != 20*time.Millisecond {
		t.Errorf("three guesses moved the draft's rate from %g to %g, %s", before, now, took)
	}
	if err := p.Commit(Commit{Start: 4, Tokens: []Token{5}, Fates: []Fate{Accepted}}); err != nil {
		t.Fatal(err)
	}
	if now, _ := p.DraftWorth(); now <= before {
		t.Errorf("a right draft moved its rate from %g to %g", before, now)
	}
}

// Without a draft there are guesses alone, and wrong ones do not end them.
func TestGuessOnly(t *testing.T) {
	p := NewProposer(ProposerConfig{GuessOnly: true}, []Token{1})
	p.LinkUp(0)
	for i := range 200 {
		p.Guess(func(path []Token) (Choice, bool) { return Choice{Token: 7, Confidence: 0.5}, len(path) < 2 })
		r := p.Ready(Time(i) * time.Second)
		if r.Draft != nil || r.Send == nil || len(r.Send.Tokens) != 2 {
			t.Fatalf("step %d: %+v", i, r)
		}
		if err := p.Commit(Commit{Start: 1 + i, Tokens: []Token{8}, Fates: []Fate{Correction}}); err != nil {
			t.Fatal(err)
		}
	}
}

// Guesses and drafts in any order keep what the proposer promises: a chain of parents that are sent once,
// and nothing beyond its bounds.
func TestGuessAtRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	p := NewProposer(ProposerConfig{Window: 12, MaxLength: 3000, Branches: true}, []Token{1})
	p.LinkUp(0)
	now, epoch, sent := Time(0), -1, 0
	var work *Work
	for p.Finished() == NotFinished && len(p.Log()) < 2990 {
		now += time.Millisecond
		choice := func() Choice {
			return Choice{Token: Token(rng.IntN(3)), Second: Token(rng.IntN(3)), Confidence: rng.Float32()}
		}
		p.Guess(func(path []Token) (Choice, bool) { return choice(), rng.IntN(3) > 0 })
		r := p.Ready(now)
		if r.Draft != nil {
			if work != nil {
				t.Fatal("two drafts at once")
			}
			work = r.Draft
		}
		if s := r.Send; s != nil {
			if s.Epoch != epoch {
				epoch, sent = s.Epoch, 0
			}
			if s.First != sent {
				t.Fatalf("node %d comes after %d", s.First, sent)
			}
			sent += len(s.Tokens)
		}
		if work != nil && rng.IntN(2) == 0 {
			p.Drafted(work.ID, choice(), time.Millisecond)
			work = nil
		}
		if p.inFlight() > 12 || len(p.live) > 64 {
			t.Fatalf("%d in flight, %d alive", p.inFlight(), len(p.live))
		}
		if rng.IntN(4) == 0 {
			n := 1 + rng.IntN(3)
			c := Commit{Start: len(p.Log()), Fates: make([]Fate, n)}
			for range n {
				c.Tokens = append(c.Tokens, Token(rng.IntN(3)))
			}
			for i := range c.Fates {
				c.Fates[i] = RunAhead
			}
			if err := p.Commit(c); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// With nothing else to do the draft is asked about a doubtful guess; its other choice becomes a branch.
func TestDraftDoubtsGuess(t *testing.T) {
	p := NewProposer(ProposerConfig{Depth: 1}, []Token{1})
	p.LinkUp(0)
	p.Guess(func([]Token) (Choice, bool) { return Choice{Token: 2, Confidence: 0.6}, true })
	r := p.Ready(time.Second)
	if r.Draft == nil || len(r.Draft.Path) != 0 {
		t.Fatalf("%+v", r.Draft)
	}
	p.Drafted(r.Draft.ID, Choice{Token: 3, Confidence: 0.9, Second: -1}, time.Millisecond)
	if d := p.Drafts(); len(d) != 2 || d[0].Token != 2 || d[1].Token != 3 || d[1].Parent != -1 {
		t.Errorf("%+v", d)
	}
	if r := p.Ready(2 * time.Second); r.Draft != nil {
		t.Errorf("asked twice: %+v", r.Draft)
	}
}

// What was drafted beyond a guess dies when that was wrong; it is no fault of the draft, which does not rest
// for it.
func TestWrongGuessesDoNotRestTheDraft(t *testing.T) {
	p := NewProposer(ProposerConfig{}, []Token{1})
	p.LinkUp(0)
	for round := range 20 {
		p.Guess(func(path []Token) (Choice, bool) {
			return Choice{Token: 2, Confidence: 0.99}, len(path) < 4
		})
		for i := range 8 { // the draft goes on behind the guesses
			r := p.Ready(Time(100*round+i) * time.Second)
			if r.Draft == nil {
				t.Fatalf("round %d: the draft rests after %d tokens", round, i)
			}
			p.Drafted(r.Draft.ID, Choice{Token: 3, Confidence: 0.99, Second: -1}, time.Millisecond)
		}
		if r := p.Ready(Time(100*round+50) * time.Second); r.Draft != nil { // all is sent
			p.DraftFailed(r.Draft.ID)
		}
		if err := p.Commit(Commit{Start: 1 + round, Tokens: []Token{9}, Fates: []Fate{Correction}}); err != nil {
			t.Fatal(err)
		}
	}
}

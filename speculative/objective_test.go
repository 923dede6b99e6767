package speculative

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestParseObjective(t *testing.T) {
	for i, word := range Objectives() {
		o, err := ParseObjective(word)
		if err != nil || o != Objective(i+1) || o.String() != word || o.Validate() != nil {
			t.Errorf("%q: %v %v", word, o, err)
		}
		if a := o.Aims(); !(a.MaxPasses > 0 && a.MaxPasses <= 1 && a.Patience >= 0 && a.Patience < 1 && (a.Patience > 0) == (a.MaxPasses < 1)) {
			t.Errorf("%q aims at %+v: a bound on passes without patience can be slower than streaming", word, a)
		}
	}
	if o, err := ParseObjective(""); err != nil || o != ObjectiveDefault || o.Aims() != ObjectiveLatency.Aims() {
		t.Errorf("no word: %v %v", o, err)
	}
	if _, err := ParseObjective("fame"); !errors.Is(err, ErrObjective) || !errors.Is(Objective(9).Validate(), ErrObjective) {
		t.Errorf("unknown: %v", err)
	}
}

// decide lets a proposer draft in a world in which so many of the draft's tokens in ten hold, and in which
// what holds is accepted or late; it returns how many tokens were drafted for so many committed.
func decide(p *Proposer, now *Time, tokens, hold int, accepted bool) (drafted int) {
	before := p.Stats().Drafted
	for range tokens {
		for {
			*now += time.Second
			r := p.Ready(*now)
			if r.Draft == nil {
				break
			}
			p.Drafted(r.Draft.ID, Choice{Token: 1, Second: -1, Confidence: 0.8}, time.Millisecond)
		}
		n := len(p.Log())
		c := Commit{Start: n, Tokens: []Token{2}, Fates: []Fate{RunAhead}}
		if n%10 < hold {
			if c.Tokens[0] = 1; accepted {
				c.Fates[0] = Accepted
			}
		}
		if err := p.Commit(c); err != nil {
			panic(err)
		}
	}
	return p.Stats().Drafted - before
}

// Where drafted tokens must be worth something, drafting stops within a few dozen tokens when they are
// not, and comes back when they are. Without that wish the same world goes on being drafted for.
func TestWorth(t *testing.T) {
	for _, o := range []Objective{ObjectiveLatency, ObjectiveEnergy} {
		p := NewProposer(ProposerConfig{Worth: o.Aims().Worth}, []Token{0})
		p.LinkUp(0)
		var now Time
		first := decide(p, &now, 40, 9, true)
		late := decide(p, &now, 120, 9, false) // all that holds comes too late
		rests := decide(p, &now, 200, 9, false)
		decide(p, &now, 700, 9, true)
		back := decide(p, &now, 200, 9, true)
		t.Logf("%s: %d drafted for 40 tokens, %d for 120 and %d for 200 when late, %d for 200 at last", o, first, late, rests, back)
		if first < 20 || back < 100 {
			t.Errorf("%s: only %d and %d tokens were drafted while it paid", o, first, back)
		}
		if (rests > 60) == (o == ObjectiveEnergy) {
			t.Errorf("%s: %d tokens were drafted for 200 while all came late", o, rests)
		}
	}
	if slices.Contains(Objectives(), "") {
		t.Error("the default is listed")
	}
}

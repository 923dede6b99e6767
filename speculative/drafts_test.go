package speculative

import (
	"slices"
	"testing"
	"time"
)

// say has the draft run all that it lacks and answer.
func say(d *Drafts, log, path []Token, c Choice) (rows int) {
	for {
		_, tokens, whole := d.Next(log, path, 3)
		d.Ran(tokens, whole, c)
		if rows += len(tokens); whole {
			return rows
		}
	}
}

// A draft runs each token once as long as the log follows it, and what it has not said it does not say.
func TestDraftsFollowTheLog(t *testing.T) {
	var d Drafts
	log := []Token{1, 2, 3, 4, 5}
	for _, s := range []struct {
		log, path []Token
		rows      int
		c         Token
	}{
		{log, nil, 5, 6},
		{log, []Token{6}, 1, 7},
		{log, []Token{6, 7}, 1, 8},
		{log, []Token{9}, 1, 10},                            // a proposal of the edge instead
		{[]Token{1, 2, 3, 4, 5, 9, 10, 11}, nil, 2, 12},     // accepted, and a bonus
		{[]Token{1, 2, 3, 4, 5, 9, 10, 11, 13}, nil, 1, 14}, // the target said another
	} {
		if _, ok := d.Guess(s.log, s.path); ok {
			t.Errorf("%v %v is known before", s.log, s.path)
		}
		if n := d.Rows(s.log, s.path); n != s.rows {
			t.Errorf("%v %v takes %d rows, not %d", s.log, s.path, n, s.rows)
		}
		say(&d, s.log, s.path, Choice{Token: s.c})
		if c, ok := d.Guess(s.log, s.path); !ok || c.Token != s.c {
			t.Errorf("%v %v: %v %t", s.log, s.path, c, ok)
		}
	}
	d.Moved([]Token{1, 2, 3, 4, 5, 9, 10, 11, 13}, []Token{1, 2, 3, 4, 9})
	if n := d.Rows([]Token{1, 2, 3, 4, 9}, nil); n != 1 {
		t.Errorf("after a move to a shorter log %d rows", n)
	}
	if _, ok := d.Guess([]Token{1, 2, 3, 4, 9}, nil); ok {
		t.Error("another log's choice is told")
	}
	if d.Lost(); d.Held() != 0 {
		t.Error("lost rows are held")
	}
}

// What a draft in the cloud is asked for falls as load rises, and is nothing where the target has no time, where
// the rest of the step waits for it, or where the session cannot pay.
func TestPlanDraftsGivesUpFirst(t *testing.T) {
	target, draft := Cost{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond}, Cost{Step: 4 * time.Millisecond, Position: 30 * time.Microsecond}
	l := Limits{Positions: 256}
	wishing := func(n int, w Wish) (bids []Bid) {
		for range n {
			w := w
			bids = append(bids, Bid{Offer: Offer{Ready: true, Wish: &w}})
		}
		return bids
	}
	plan := func(bids []Bid) int {
		return len(PlanDrafts(bids, l, target, draft, 0))
	}
	good := Wish{Value: 0.8, Credit: 100}
	if n := plan(wishing(1, good)); n != 1 {
		t.Errorf("alone: %d", n)
	}
	if n := plan(wishing(60, good)); n != 60 {
		t.Errorf("sixty in one batch: %d", n)
	}
	if n := plan(wishing(256, good)); n != 0 {
		t.Errorf("in a full step: %d", n)
	}
	others := append(wishing(1, good), slices.Repeat([]Bid{{Offer: Offer{Ready: true, Values: []float64{0.9, 0.8}}}}, 40)...)
	if n := plan(others); n != 0 {
		t.Errorf("forty others wait for one: %d", n)
	}
	if n := plan(wishing(1, Wish{Value: 0.8, Credit: 13})); n != 0 {
		t.Errorf("without credit: %d", n)
	}
	if n := plan(wishing(1, Wish{Value: 0.05, Credit: 100})); n != 0 {
		t.Errorf("hardly ever right: %d", n)
	}
}

// What a draft tells is believed as far as it holds, and a new session begins with what others have learned and
// with no more than what they have earned.
func TestCalibrationOfTheCloudsDraft(t *testing.T) {
	var e Experience
	c := e.begin()
	if p := c.first(0.75); p < 0.74 || p > 0.76 {
		t.Errorf("told 0.75, nothing known: %.3f", p)
	}
	for i := range 200 {
		c.observe(0.75, i%10 != 0, i%20 == 0)
		e.observe(0.75, i%10 != 0, i%20 == 0)
	}
	if p, q := c.first(0.75), c.coverage(); p < 0.86 || p > 0.94 || q < 0.4 || q > 0.6 {
		t.Errorf("right nine times in ten, the second choice half of the rest: %.3f %.3f", p, q)
	}
	if p := e.begin().first(0.75); p < 0.84 || p > 0.94 {
		t.Errorf("the next session begins with %.3f", p)
	}
	if n := e.lend(50); n != 0 {
		t.Errorf("%g rows are lent that nobody earned", n)
	}
	e.earn(1000, 100)
	if n := e.lend(250); n != 100 {
		t.Errorf("%g rows are lent of 100", n)
	}
}

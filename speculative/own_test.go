package speculative

import (
	"slices"
	"testing"
)

// cyclic guesses that tokens go on in steps of one, as sure as told.
func cyclic(sure float32) Own {
	return Own{Guess: func(log, path []Token) (Choice, bool) {
		full := slices.Concat(log, path)
		return Choice{Token: full[len(full)-1] + 1, Confidence: sure}, true
	}}
}

func verifierWith(o Own) *Verifier {
	v := NewVerifier(VerifierConfig{PromptLength: 1, Own: o}, []Token{10})
	v.earned = 100
	return v
}

func counting(from Token, n int) (out []Choice) {
	for i := range n {
		out = append(out, Choice{Token: from + Token(i)})
	}
	return out
}

func TestOwnProposalsCommitSeveralTokens(t *testing.T) {
	v := verifierWith(cyclic(0.9))
	o := v.Offer(0, 100)
	if !o.Ready || len(o.Values) != 0 || len(o.Own) != DefaultOwn {
		t.Fatalf("offer %+v", o)
	}
	s := v.Begin(4)
	if !slices.Equal(s.Tokens, []Token{10, 11, 12, 13, 14}) || s.Own != 4 {
		t.Fatalf("segment %+v", s)
	}
	c, err := v.Scored(1, s, append(counting(11, 2), counting(99, 3)...), 100)
	if err != nil || !slices.Equal(c.Tokens, []Token{11, 12, 99}) || !slices.Equal(c.Fates, []Fate{RunAhead, RunAhead, RunAhead}) {
		t.Fatalf("commit %+v, %v", c, err)
	}
	if u := v.Usage(); u.OwnJudged != 4 || u.OwnAccepted != 2 || u.Judged != 0 || u.Accepted != 0 || u.Positions != 5 || u.ScoringPasses != 0 {
		t.Errorf("usage %+v", u)
	}
}

// They continue the likeliest proposal, come after all that wait, and a proposal that arrives before the step
// begins undoes them.
func TestOwnProposalsFollowProposals(t *testing.T) {
	v := verifierWith(cyclic(0.9))
	propose := func(m *Propose) {
		t.Helper()
		if err := v.Propose(0, m); err != nil {
			t.Fatal(err)
		}
	}
	propose(&Propose{Epoch: 1, Tokens: []Token{11, 50}, Parents: []int32{-1, -1}, Confidence: []float32{0.8, 0.2}})
	o := v.Offer(0, 100)
	if len(o.Values) != 2 || len(o.Own) == 0 {
		t.Fatalf("offer %+v", o)
	}
	s := v.Begin(4)
	if !slices.Equal(s.Tokens, []Token{10, 11, 50, 12, 13}) || !slices.Equal(s.Parents, []int32{-1, 0, 0, 1, 3}) {
		t.Fatalf("segment %+v", s)
	}
	c, err := v.Scored(1, s, []Choice{{Token: 11}, {Token: 12}, {Token: 7}, {Token: 13}, {Token: 14}}, 100)
	if err != nil || !slices.Equal(c.Tokens, []Token{11, 12, 13, 14}) || !slices.Equal(c.Fates, []Fate{Accepted, RunAhead, RunAhead, RunAhead}) {
		t.Fatalf("commit %+v, %v", c, err)
	}
	v.Offer(2, 100)
	propose(&Propose{Epoch: 5, Tokens: []Token{15}})
	if s := v.Begin(8); s.Own != 0 || len(s.Tokens) != 2 {
		t.Errorf("segment %+v after a proposal that came between offer and step", s)
	}
}

// A source that takes time proposes while that pays, and not where an edge has filled the step; one that boasts
// is believed less.
func TestOwnProposalsArePriced(t *testing.T) {
	offered := func(sure float32, rows float64) int {
		o := cyclic(sure)
		o.Rows = rows
		return len(verifierWith(o).Offer(0, 134).Own)
	}
	free, priced, unsure := offered(0.8, 0), offered(0.8, 14), offered(0.1, 14)
	if free <= priced || priced < 4 || priced > 9 || unsure != 0 {
		t.Errorf("%d proposed for nothing, %d and %d where each costs 14 rows", free, priced, unsure)
	}
	v := verifierWith(cyclic(0.99))
	for range 30 {
		v.Offer(0, 100)
		s := v.Begin(4)
		if _, err := v.Scored(0, s, counting(500, len(s.Tokens)), 100); err != nil {
			t.Fatal(err)
		}
		v.acked, v.earned = len(v.log), 100
	}
	if n := len(v.Offer(0, 100).Own); n > 3 {
		t.Errorf("%d proposed by who was never right", n)
	}
}

// In a step own proposals come after every root and node, and leave half of the rows free.
func TestOwnProposalsYield(t *testing.T) {
	c := Cost{Step: 40e6, Position: 3e5}
	own := Offer{Ready: true, Own: []float64{0.9, 0.8, 0.7}}
	if g := Plan([]Bid{{Offer: own}}, Limits{Positions: 64}, c); g[0].N != 3 {
		t.Errorf("alone: %+v", g)
	}
	bids := []Bid{{Offer: own}}
	for range 40 {
		bids = append(bids, Bid{Offer: Offer{Ready: true, Values: []float64{0.9, 0.8}}})
	}
	for _, g := range Plan(bids, Limits{Positions: 64}, c) {
		if g.Bid == 0 && g.N > 0 {
			t.Errorf("in a full step: %+v", g)
		}
	}
}

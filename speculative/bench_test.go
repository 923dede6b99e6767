package speculative

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkProposer is one drafted token on the edge: ask, report, send, commit.
func BenchmarkProposer(b *testing.B) {
	b.ReportAllocs()
	newEdge := func() *Proposer {
		p := NewProposer(ProposerConfig{Gap: 1}, []Token{1})
		p.LinkUp(0)
		return p
	}
	p := newEdge()
	for i := 0; b.Loop(); i++ {
		r := p.Ready(Time(i))
		if r.Draft != nil {
			p.Drafted(r.Draft.ID, Choice{Token: 7, Second: 8, Confidence: 0.99}, 4*time.Millisecond)
		} else if err := p.Commit(Commit{Start: len(p.log), Tokens: []Token{7, 7, 7, 7}, Fates: []Fate{Accepted, Accepted, Accepted, Accepted}}); err != nil {
			b.Fatal(err)
		}
		if len(p.log) > 4000 {
			p = newEdge()
		}
	}
}

// BenchmarkVerifier is one step of one session in the cloud: a proposal of 8, offer, segment, judgement.
func BenchmarkVerifier(b *testing.B) {
	b.ReportAllocs()
	tokens := slices.Repeat([]Token{7}, 8)
	confidence := slices.Repeat([]float32{0.9}, 8)
	choices := slices.Repeat([]Choice{{Token: 7}}, 9)
	var v *Verifier
	for i := 0; b.Loop(); i++ {
		if v == nil || len(v.log) > 4000 {
			v = NewVerifier(VerifierConfig{PromptLength: 1}, []Token{1})
		}
		m := Propose{Epoch: len(v.log), Tokens: tokens, Confidence: confidence}
		if err := v.Propose(Time(i), &m); err != nil {
			b.Fatal(err)
		}
		o := v.Offer(Time(i), 100)
		s := v.Begin(len(o.Values))
		if _, err := v.Scored(Time(i), s, choices[:len(s.Tokens)], 100); err != nil {
			b.Fatal(err)
		}
		if err := v.Ack(len(v.log)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlan packs one step out of 1000 sessions with 0 to 8 nodes each.
func BenchmarkPlan(b *testing.B) {
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(1, 1))
	bids := make([]Bid, 1000)
	for i := range bids {
		bids[i] = Bid{Offer: Offer{Ready: true}, Since: Time(r.IntN(1000)), Behind: i%10 == 0}
		for p := 1.0; len(bids[i].Values) < i%9; {
			p *= r.Float64()
			bids[i].Values = append(bids[i].Values, p)
		}
		if i%50 == 0 {
			bids[i].Prefill = 100
		}
	}
	cost := Cost{Step: 40 * time.Millisecond, Sequence: 500 * time.Microsecond, Position: 100 * time.Microsecond}
	for b.Loop() {
		Plan(bids, Limits{Positions: 2048, Sequences: 512, Prefill: 256}, cost)
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, size := range []int{32_000, 128_000} {
		r := rand.New(rand.NewPCG(1, 2))
		logits, scratch := make([]float32, size), make([]float32, size)
		for i := range logits {
			logits[i] = float32(r.NormFloat64() * 2.5)
		}
		for _, c := range []struct {
			name string
			p    Params
		}{
			{"greedy", Params{}},
			{"temperature", Params{Temperature: 0.8}},
			{"top-k", Params{Temperature: 0.8, TopK: 40}},
			{"top-p", Params{Temperature: 0.8, TopP: 0.95}},
			{"min-p", Params{Temperature: 0.8, MinP: 0.05}},
		} {
			b.Run(fmt.Sprintf("%dk/%s", size/1000, c.name), func(b *testing.B) {
				s := NewSampler(c.p, 0)
				for b.Loop() {
					copy(scratch, logits)
					s.Choose(scratch)
				}
			})
		}
	}
}

package speculative

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// What is packed comes out again, confidence to its level; messages sent unpacked in between count.
func TestPack(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		vocabulary := 2 + rng.IntN(200_000)
		drawn := vocabulary > MaxSparse && rng.IntN(2) == 0
		k, u := Packer{Bits: TokenBits(vocabulary), Drawn: drawn}, Unpacker{Bits: TokenBits(vocabulary), Window: DefaultWindow, Drawn: drawn}
		epoch, next := 1+rng.IntN(100_000), 0
		for range 10 {
			if rng.IntN(3) == 0 {
				epoch, next = epoch+1+rng.IntN(1000), 0
			}
			p := &Propose{Epoch: epoch, First: next}
			chain := true
			for i := range 1 + rng.IntN(8) {
				p.Tokens = append(p.Tokens, Token(rng.IntN(vocabulary)))
				parent := int32(next + i - 1)
				if rng.IntN(2) == 0 {
					parent = int32(rng.IntN(next+i+1) - 1)
				}
				chain = chain && int(parent) == next+i-1
				p.Parents = append(p.Parents, parent)
				p.Confidence = append(p.Confidence, rng.Float32())
				if drawn {
					p.Q = append(p.Q, someSparse(rng, p.Tokens[i], vocabulary))
				}
			}
			if chain {
				p.Parents = nil
			}
			next += len(p.Tokens)
			if rng.IntN(4) == 0 {
				k.Note(p)
				u.Note(p)
				continue
			}
			data, ok := k.Pack(p)
			if !ok {
				t.Fatalf("seed %d: %+v was not packed", seed, p)
			}
			got, err := u.Unpack(data)
			if err != nil {
				t.Fatalf("seed %d: %+v packed as %x: %v", seed, p, data, err)
			}
			if got.Epoch != p.Epoch || got.First != p.First || !slices.Equal(got.Tokens, p.Tokens) || !slices.Equal(got.Parents, p.Parents) {
				t.Fatalf("seed %d: packed %+v, came out as %+v", seed, p, got)
			}
			if !slices.EqualFunc(got.Q, p.Q, (*Sparse).equal) || got.CheckDrawn(Rule{Kind: Rejection}, vocabulary) != nil {
				t.Fatalf("seed %d: packed %+v, came out as %+v", seed, p, got)
			}
			for i, c := range p.Confidence {
				if l := packConfidence(c); packConfidence(got.Confidence[i]) != l {
					t.Fatalf("confidence %g became %g", c, got.Confidence[i])
				}
			}
		}
	}
}

// someSparse is a distribution that a token may be drawn from, or none.
func someSparse(rng *rand.Rand, t Token, vocabulary int) *Sparse {
	n := rng.IntN(MaxSparse)
	if n == 0 {
		return nil
	}
	q := &Sparse{Tokens: []Token{t}, Weights: []uint8{uint8(1 + rng.IntN(255))}}
	for len(q.Tokens) <= n {
		if o := Token(rng.IntN(vocabulary)); !slices.Contains(q.Tokens, o) {
			q.Tokens, q.Weights = append(q.Tokens, o), append(q.Weights, uint8(1+rng.IntN(255)))
		}
	}
	return q
}

func TestPackSize(t *testing.T) {
	k := Packer{Bits: TokenBits(32000)}
	first, _ := k.Pack(&Propose{Epoch: 300, Tokens: []Token{31999}, Confidence: []float32{0.9}})
	second, _ := k.Pack(&Propose{Epoch: 300, First: 1, Tokens: []Token{5, 6, 7}, Confidence: []float32{0.9, 0.9, 0.9}})
	if len(first) != 5 || len(second) != 8 {
		t.Errorf("one node in a new epoch takes %d bytes, three more %d; they took 5 and 8", len(first), len(second))
	}
}

func TestPackRefuses(t *testing.T) {
	k := Packer{Bits: TokenBits(100)}
	for _, p := range []*Propose{
		{Epoch: 0, Tokens: []Token{1}},
		{Epoch: 5, First: 1, Tokens: []Token{1}},
		{Epoch: 5, Tokens: []Token{128}},
		{Epoch: 5, Tokens: []Token{-1}},
		{Epoch: 5, Tokens: []Token{1}, Parents: []int32{0}},
		{Epoch: 5, Tokens: []Token{1}, Q: []*Sparse{{Tokens: []Token{1, 2}, Weights: []uint8{1, 2}}}},
	} {
		if data, ok := k.Pack(p); ok && p.Epoch != 0 {
			t.Errorf("%+v was packed as %x", p, data)
		}
	}
	if _, ok := (&Packer{}).Pack(&Propose{Epoch: 1, Tokens: []Token{1}}); ok {
		t.Error("packed without knowing the bits of a token")
	}
}

func FuzzUnpack(f *testing.F) {
	k := Packer{Bits: TokenBits(32000)}
	for _, p := range []*Propose{{Epoch: 3, Tokens: []Token{1, 2}}, {Epoch: 3, First: 2, Tokens: []Token{4}, Parents: []int32{0}}} {
		data, _ := k.Pack(p)
		f.Add(data, 15)
	}
	k = Packer{Bits: 15, Drawn: true}
	data, _ := k.Pack(&Propose{Epoch: 3, Tokens: []Token{1, 2}, Q: []*Sparse{{Tokens: []Token{1, 9}, Weights: []uint8{200, 3}}, nil}})
	f.Add(data, -15)
	f.Fuzz(func(t *testing.T, data []byte, width int) {
		drawn := width < 0
		if width = max(width, -width); width < 0 {
			width = 0
		}
		u := Unpacker{Bits: min(max(width, minTokenBits), maxTokenBits), Window: DefaultWindow, Drawn: drawn}
		u.Note(&Propose{Epoch: 1, Tokens: []Token{1}})
		p, err := u.Unpack(data)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		for i, q := range p.Q {
			if q.Check(p.Tokens[i], 1<<30) == nil && q != nil && !(q.probability() > 0 && q.probability() < 1) {
				t.Fatalf("%+v passes with probability %g", q, q.probability())
			}
		}
		k := Packer{Bits: u.Bits, Drawn: drawn}
		k.Note(&Propose{Epoch: 1, Tokens: []Token{1}})
		again, ok := k.Pack(p)
		if !ok || len(p.Tokens) > DefaultWindow || p.Epoch > math.MaxInt32 {
			t.Fatalf("%x came out as %+v", data, p)
		}
		v := Unpacker{Bits: u.Bits, Window: DefaultWindow, Drawn: drawn}
		v.Note(&Propose{Epoch: 1, Tokens: []Token{1}})
		if q, err := v.Unpack(again); err != nil || !slices.Equal(p.Tokens, q.Tokens) || !slices.Equal(p.Parents, q.Parents) || !slices.EqualFunc(p.Q, q.Q, (*Sparse).equal) {
			t.Fatalf("%+v packed again came out as %+v (%v)", p, q, err)
		}
	})
}

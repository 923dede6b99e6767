package speculative

import (
	"errors"
	"math"
	"slices"
	"testing"
)

// fuzzNode is what a naive cloud remembers of a node: the whole path.
type fuzzNode struct {
	path   []Token // from the epoch's base
	parent int
}

// fuzzCloud recomputes the pending set from everything delivered (I7), without any cleverness.
type fuzzCloud struct {
	epoch int
	nodes []fuzzNode
}

func (f *fuzzCloud) waiting(log []Token) (numbers []int) {
	for i, n := range f.nodes {
		full := append(slices.Clone(log[:f.epoch]), n.path...)
		if len(full) > len(log) && slices.Equal(full[:len(log)], log) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// accept remembers what the verifier took without an error.
func (f *fuzzCloud) accept(m *Propose) {
	if m.Epoch < f.epoch {
		return
	}
	if m.Epoch > f.epoch {
		*f = fuzzCloud{epoch: m.Epoch}
	}
	for i, t := range m.Tokens {
		if m.First+i < len(f.nodes) {
			continue
		}
		n := fuzzNode{parent: m.parent(i)}
		if n.parent >= 0 {
			n.path = slices.Clone(f.nodes[n.parent].path)
		}
		n.path = append(n.path, t)
		f.nodes = append(f.nodes, n)
	}
}

// byteReader deals out the fuzzer's bytes; zero when they are used up.
type byteReader []byte

func (r *byteReader) next() int {
	if len(*r) == 0 {
		return 0
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return int(b)
}

// small is mostly a small number around zero, at times an absurd one.
func (r *byteReader) small() int {
	switch b := r.next(); b {
	case 255:
		return math.MaxInt32
	case 254:
		return math.MinInt32
	default:
		return b%24 - 2
	}
}

// FuzzVerifier feeds a verifier arbitrary messages and steps: no panic, no error but ErrProtocol, the
// pending set and the memory as they should be, and the log is the model's alone.
func FuzzVerifier(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 5, 2, 3, 1, 2, 3, 0, 3, 1, 0, 5, 5, 1, 9})
	f.Add([]byte("proposals, acknowledgements and steps of all kinds, again and again and again"))
	f.Add(slices.Repeat([]byte{0, 6, 2, 2, 1, 1, 0, 3}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := byteReader(data)
		const window = 6
		v := NewVerifier(VerifierConfig{PromptLength: 1, Window: window, Credit: 16, Ending: Ending{MaxLength: 60}}, []Token{1})
		naive := fuzzCloud{epoch: -1}
		now := Time(0)
		var err error
		for len(r) > 0 && err == nil && v.Finished() == NotFinished {
			now++
			switch r.next() % 4 {
			case 0, 1:
				m := fuzzPropose(&r, &naive)
				if err = v.Propose(now, m); err == nil {
					naive.accept(m)
				}
			case 2:
				err = v.Ack(r.small() + len(v.Log()) - 4)
			case 3:
				fuzzStep(t, &r, v, now)
			}
			if err != nil && !errors.Is(err, ErrProtocol) {
				t.Fatalf("error %v", err)
			}
			if err == nil && v.Finished() == NotFinished {
				if got, want := v.Waiting(), naive.waiting(v.Log()); !slices.Equal(got, want) {
					t.Fatalf("nodes %v wait, by recomputation %v; log %v, epoch %d, nodes %v", got, want, v.Log(), naive.epoch, naive.nodes)
				}
			}
			if n := len(v.nodes.ring); n > 3*window+1 || v.Pending() > window {
				t.Fatalf("%d nodes remembered, %d pending with a window of %d", n, v.Pending(), window)
			}
		}
		for i, tok := range v.Log()[1:] {
			if tok != fuzzTarget(i+1) {
				t.Fatalf("log %v", v.Log())
			}
		}
	})
}

// fuzzTarget is the model: what it chooses depends on the position only.
func fuzzTarget(position int) Token { return Token(position * 7 % 3) }

func fuzzPropose(r *byteReader, naive *fuzzCloud) *Propose {
	m := &Propose{Epoch: naive.epoch, First: len(naive.nodes)}
	if r.next()%3 == 0 {
		m.Epoch += r.small()
		m.First = 0
	}
	if r.next()%8 == 0 {
		m.First += r.small()
	}
	n := r.next() % 8
	tree, told := r.next()%2 == 0, r.next()%3 == 0
	for i := range n {
		m.Tokens = append(m.Tokens, Token(r.next()%3))
		if tree {
			m.Parents = append(m.Parents, int32(min(m.First, 1<<20)+i-1-r.small()))
		}
		if told {
			m.Confidence = append(m.Confidence, math.Float32frombits(uint32(r.next())<<24|uint32(r.next())<<16))
		}
	}
	if r.next()%16 == 0 {
		m.Parents = append(m.Parents, 0)
	}
	return m
}

func fuzzStep(t *testing.T, r *byteReader, v *Verifier, now Time) {
	o := v.Offer(now, float64(1+r.next()))
	if !o.Ready {
		return
	}
	for i, x := range o.Values {
		if !(x >= 0 && x <= 1) || (i > 0 && x > o.Values[i-1]) {
			t.Fatalf("values %v", o.Values)
		}
	}
	n := len(o.Values)
	if o.Prefill > 0 {
		n = 1 + r.next()%o.Prefill
	}
	s := v.Begin(n)
	if r.next()%8 == 0 {
		v.Discard(s, r.next()%2 == 0)
		return
	}
	positions := make([]int, len(s.Tokens))
	var choices []Choice
	for i := range s.Tokens {
		positions[i] = s.Start + i
		if s.Parents != nil && i > 0 {
			positions[i] = positions[s.Parents[i]] + 1
		}
		choices = append(choices, Choice{Token: fuzzTarget(positions[i] + 1)})
	}
	if _, err := v.Scored(now, s, choices, 100); err != nil {
		t.Fatal(err)
	}
}

// FuzzProposer feeds an edge arbitrary commits and results: no panic, the log only grows, what it
// sends is well formed for a verifier that follows the same log.
func FuzzProposer(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 2, 1, 1, 2, 3, 0, 1, 0, 3, 2, 2, 1})
	f.Add(slices.Repeat([]byte{0, 1, 1, 7, 0, 2, 1, 0}, 30))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := byteReader(data)
		p := NewProposer(ProposerConfig{MaxLength: 60, Window: 5, Gap: 1, Branches: r.next()%2 == 0, MinPath: 1e-3}, []Token{1})
		p.LinkUp(0)
		cloud := nodeSet{window: 5, epoch: -1}
		var usage Usage
		for now := Time(1); len(r) > 0; now++ {
			before := slices.Clone(p.Log())
			ready := p.Ready(now)
			if m := ready.Send; m != nil {
				if m.Epoch > cloud.epoch {
					cloud.begin(m.Epoch)
				}
				if err := cloud.add(m, p.Log(), &usage); err != nil {
					t.Fatalf("%+v: %v", m, err)
				}
			}
			switch r.next() % 4 {
			case 0, 1:
				if p.drafting != nil {
					p.Drafted(p.drafting.id, Choice{Token: Token(r.next() % 3), Second: Token(r.next()%4) - 1,
						Confidence: math.Float32frombits(uint32(r.next())<<24 | uint32(r.next())<<16)}, Time(r.next()))
				}
			case 2:
				c := Commit{Start: len(p.Log()) + r.small()}
				for range r.next() % 5 {
					c.Tokens, c.Fates = append(c.Tokens, Token(r.next()%3)), append(c.Fates, Fate(r.next()))
				}
				known := len(p.Log())
				if err := p.Commit(c); err == nil {
					for _, tok := range p.Log()[known:] {
						cloud.advance(tok)
					}
				}
			case 3:
				p.LinkDown()
				p.LinkUp(r.next() % 6)
				cloud = nodeSet{window: 5, epoch: -1}
			}
			if !slices.Equal(p.Log()[:len(before)], before) {
				t.Fatalf("the log went from %v to %v", before, p.Log())
			}
		}
	})
}

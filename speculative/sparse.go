package speculative

import (
	"math"
	"slices"
)

// Sparse is the distribution that a draft drew a token from: a few tokens with 8-bit weights, the
// drawn one first. A probability is a weight by the sum of all, so that it is a distribution whatever
// the edge writes. nil is a point mass: the token was not drawn, or from what nobody can tell.
type Sparse struct {
	Tokens  []Token
	Weights []uint8 // one per token, never 0
}

// MaxSparse bounds the tokens of a Sparse.
const MaxSparse = 16

// Check says what is wrong with a distribution that a token is said to be drawn from. Errors wrap
// ErrProtocol.
func (q *Sparse) Check(t Token, vocabulary int) error {
	if q == nil {
		return nil
	}
	if n := len(q.Tokens); n < 2 || n > MaxSparse || len(q.Weights) != n {
		return protocolError("a distribution of %d tokens with %d weights, 2 to %d are allowed", n, len(q.Weights), MaxSparse)
	}
	if q.Tokens[0] != t {
		return protocolError("token %d is drawn from a distribution that begins with %d", t, q.Tokens[0])
	}
	for i, v := range q.Tokens {
		switch {
		case v < 0 || int(v) >= vocabulary:
			return protocolError("a distribution holds token %d, the vocabulary has %d", v, vocabulary)
		case q.Weights[i] == 0:
			return protocolError("a distribution holds token %d with no weight", v)
		case slices.Contains(q.Tokens[:i], v):
			return protocolError("a distribution holds token %d twice", v)
		}
	}
	return nil
}

// equal says whether two are the same, nil included.
func (q *Sparse) equal(o *Sparse) bool {
	if q == nil || o == nil {
		return q == o
	}
	return slices.Equal(q.Tokens, o.Tokens) && slices.Equal(q.Weights, o.Weights)
}

func (q *Sparse) sum() (n int) {
	for _, w := range q.Weights {
		n += int(w)
	}
	return n
}

// quantise keeps the most probable of p, whose l are probabilities; it reorders p.
func quantise(p []candidate) *Sparse {
	p = topK(p, min(MaxSparse, len(p)))
	slices.SortFunc(p, byLogit)
	q := &Sparse{}
	for _, c := range p {
		w := math.Round(c.l / p[0].l * math.MaxUint8)
		if !(w >= 1) {
			break
		}
		q.Tokens, q.Weights = append(q.Tokens, c.t), append(q.Weights, uint8(w))
	}
	return q
}

// draw takes a token by its noise and puts it first. It returns how probable the top token is, and
// nil for a distribution of one token.
func (q *Sparse) draw(key noiseKey) (t Token, top float64, drawn *Sparse) {
	sum := q.sum()
	top = float64(slices.Max(q.Weights)) / float64(sum)
	at, best := 0, math.Inf(-1)
	for i, w := range q.Weights {
		if v := math.Log(float64(w)) + gumbel(key.hash(q.Tokens[i])); v > best {
			at, best = i, v
		}
	}
	t = q.Tokens[at]
	if len(q.Tokens) == 1 {
		return t, top, nil
	}
	q.Tokens[0], q.Tokens[at] = q.Tokens[at], q.Tokens[0]
	q.Weights[0], q.Weights[at] = q.Weights[at], q.Weights[0]
	return t, top, q
}

// probability is that of the drawn token.
func (q *Sparse) probability() float64 {
	if q == nil {
		return 1
	}
	return float64(q.Weights[0]) / float64(q.sum())
}

// subtract takes q, or the point mass on t, from p as far as it goes.
func (q *Sparse) subtract(t Token, p []candidate) {
	point := Sparse{Tokens: []Token{t}, Weights: []uint8{1}}
	if q == nil {
		q = &point
	}
	sum, mask := float64(q.sum()), uint64(0)
	for _, v := range q.Tokens {
		mask |= 1 << (v & 63)
	}
	for i := range p {
		if mask>>(p[i].t&63)&1 == 0 {
			continue
		}
		if at := slices.Index(q.Tokens, p[i].t); at >= 0 {
			p[i].l = max(0, p[i].l-float64(q.Weights[at])/sum)
		}
	}
}

package speculative

import (
	"math"
	"math/bits"
)

// Packed proposals. On thin links what counts is the size of a proposal of one to three nodes, so its
// nodes are written bit by bit, and what the other side already knows (the epoch, the number of the
// first node) is left out:
//
//	message: 1 bit new epoch, then if set the epoch in groups of 7 bits (the lowest first, the 8th
//	         bit of a group: more follow); nodes; padding with 0 to a whole byte (shorter than a node)
//	node:    1 bit, 0: the parent is the node before (of the first: the base); otherwise 1 and how far
//	         back the parent lies beyond that, k >= 1, as an Elias gamma code (Elias 1975)
//	         the token in TokenBits bits
//	         the confidence in 3 bits: level i stands for the logistic function of -4.6 + i x 10/7
//	         under rejection what it was drawn from: how many other tokens in 4 bits; unless 0 the
//	         drawn token's weight in 8 bits, and each other one with its weight
//
// The first node of a new epoch has number 0, that of other messages the next one.
const (
	confidenceBits = 3
	confidenceLow  = -4.6
	confidenceStep = 10.0 / 7
	otherBits      = 4 // MaxSparse is 2^4
	weightBits     = 8
	minTokenBits   = 4 // shorter nodes could not be told from padding
	maxTokenBits   = 31
)

// TokenBits is how many bits hold every token of a vocabulary of this size.
func TokenBits(vocabulary int) int {
	return max(minTokenBits, bits.Len(uint(max(1, vocabulary)-1)))
}

func packConfidence(c float32) uint64 {
	p := min(max(float64(c), 1e-6), 1-1e-6)
	return uint64(min(max(math.Round((math.Log(p/(1-p))-confidenceLow)/confidenceStep), 0), 1<<confidenceBits-1))
}

func unpackConfidence(level uint64) float32 {
	return float32(1 / (1 + math.Exp(-(confidenceLow + float64(level)*confidenceStep))))
}

// numbering is what both sides know of a stream's last proposal.
type numbering struct{ epoch, next int }

func (n *numbering) note(p *Propose) {
	if p.Epoch > n.epoch {
		*n = numbering{epoch: p.Epoch}
	}
	if p.Epoch == n.epoch {
		n.next = max(n.next, p.First+len(p.Tokens))
	}
}

// Packer packs the proposals of one stream.
type Packer struct {
	Bits  int  // of a token
	Drawn bool // proposals tell what they were drawn from
	n     numbering
}

// Note takes notice of a proposal that was sent unpacked.
func (k *Packer) Note(p *Propose) { k.n.note(p) }

// Pack returns a proposal in packed form. It fails, and takes no notice, when the proposal does not
// continue the stream or a token needs more bits: such a one is sent as it is.
func (k *Packer) Pack(p *Propose) (data []byte, ok bool) {
	fresh := p.Epoch > k.n.epoch
	if k.Bits < minTokenBits || k.Bits > maxTokenBits || (fresh && p.First != 0) ||
		(!fresh && (p.Epoch != k.n.epoch || p.First != k.n.next)) || p.Q != nil && !k.Drawn {
		return nil, false
	}
	var w bitWriter
	if w.put(b2u(fresh), 1); fresh {
		w.groups(uint64(p.Epoch))
	}
	for i, t := range p.Tokens {
		if t < 0 || bits.Len32(uint32(t)) > k.Bits {
			return nil, false
		}
		if back := p.First + i - 1 - p.parent(i); back == 0 {
			w.put(0, 1)
		} else if back < 0 {
			return nil, false
		} else {
			w.put(1, 1)
			w.gamma(uint64(back))
		}
		w.put(uint64(t), k.Bits)
		w.put(packConfidence(float32(p.confidence(i))), confidenceBits)
		if k.Drawn && !w.sparse(p.drawnFrom(i), k.Bits) {
			return nil, false
		}
	}
	k.n.note(p)
	return w.data, true
}

// Unpacker reads the proposals of one stream.
type Unpacker struct {
	Bits   int  // of a token
	Window int  // nodes of one message at most
	Drawn  bool // proposals tell what they were drawn from
	n      numbering
}

// Note takes notice of a proposal that came unpacked.
func (u *Unpacker) Note(p *Propose) { u.n.note(p) }

// Unpack reads a packed proposal. Errors wrap ErrProtocol.
func (u *Unpacker) Unpack(data []byte) (*Propose, error) {
	r := bitReader{data: data}
	p := &Propose{Epoch: u.n.epoch, First: u.n.next}
	if r.get(1) == 1 {
		epoch := r.groups()
		if epoch > math.MaxInt32 || int(epoch) <= u.n.epoch {
			return nil, protocolError("packed epoch %d does not follow %d", epoch, u.n.epoch)
		}
		p.Epoch, p.First = int(epoch), 0
	} else if u.n.epoch == 0 {
		return nil, protocolError("the first proposal of a stream names no epoch")
	}
	chain, least := true, 1+u.Bits+confidenceBits
	if u.Drawn {
		least += otherBits
	}
	for r.left() >= least {
		number := p.First + len(p.Tokens)
		parent := number - 1
		if r.get(1) == 1 {
			back := r.gamma()
			if back > uint64(number) {
				return nil, protocolError("packed node %d has a parent %d before it", number, back)
			}
			parent, chain = parent-int(back), false
		}
		p.Tokens = append(p.Tokens, Token(r.get(u.Bits)))
		p.Parents = append(p.Parents, int32(parent))
		p.Confidence = append(p.Confidence, unpackConfidence(r.get(confidenceBits)))
		if u.Drawn {
			p.Q = append(p.Q, r.sparse(p.Tokens[len(p.Tokens)-1], u.Bits))
		}
		if len(p.Tokens) > u.Window {
			return nil, protocolError("a packed proposal of more than %d nodes", u.Window)
		}
	}
	if r.short || r.rest() != 0 {
		return nil, protocolError("packed proposal of %d bytes ends within a node", len(data))
	}
	if chain {
		p.Parents = nil
	}
	u.n.note(p)
	return p, nil
}

func (w *bitWriter) sparse(q *Sparse, bitsOfToken int) bool {
	if q == nil {
		w.put(0, otherBits)
		return true
	}
	w.put(uint64(len(q.Tokens)-1), otherBits)
	w.put(uint64(q.Weights[0]), weightBits)
	for i, t := range q.Tokens[1:] {
		if t < 0 || bits.Len32(uint32(t)) > bitsOfToken {
			return false
		}
		w.put(uint64(t), bitsOfToken)
		w.put(uint64(q.Weights[i+1]), weightBits)
	}
	return true
}

// sparse reads what t was drawn from; Sparse.Check is still to be asked.
func (r *bitReader) sparse(t Token, bitsOfToken int) *Sparse {
	n := int(r.get(otherBits))
	if n == 0 {
		return nil
	}
	q := &Sparse{Tokens: []Token{t}, Weights: []uint8{uint8(r.get(weightBits))}}
	for range n {
		q.Tokens = append(q.Tokens, Token(r.get(bitsOfToken)))
		q.Weights = append(q.Weights, uint8(r.get(weightBits)))
	}
	return q
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// bitWriter writes from the highest bit of each byte down.
type bitWriter struct {
	data []byte
	free int // bits of the last byte
}

func (w *bitWriter) put(v uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.free == 0 {
			w.data, w.free = append(w.data, 0), 8
		}
		w.free--
		w.data[len(w.data)-1] |= byte(v>>i&1) << w.free
	}
}

func (w *bitWriter) groups(v uint64) {
	for ; v > 0x7f; v >>= 7 {
		w.put(v&0x7f|0x80, 8)
	}
	w.put(v, 8)
}

func (w *bitWriter) gamma(v uint64) {
	n := bits.Len64(v)
	w.put(0, n-1)
	w.put(v, n)
}

type bitReader struct {
	data  []byte
	at    int
	short bool // more was asked for than there is
}

func (r *bitReader) left() int { return 8*len(r.data) - r.at }

func (r *bitReader) get(n int) (v uint64) {
	if n > r.left() {
		r.short, r.at = true, 8*len(r.data)
		return 0
	}
	for range n {
		v = v<<1 | uint64(r.data[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

func (r *bitReader) groups() (v uint64) {
	for shift := 0; shift < 35 && !r.short; shift += 7 {
		g := r.get(8)
		if v |= g & 0x7f << shift; g&0x80 == 0 {
			return v
		}
	}
	r.short = true
	return 0
}

func (r *bitReader) gamma() uint64 {
	zeros := 0
	for r.get(1) == 0 {
		if zeros++; r.short || zeros > maxTokenBits {
			r.short = true
			return 0
		}
	}
	return 1<<zeros | r.get(zeros)
}

// rest is what the padding holds.
func (r *bitReader) rest() uint64 {
	if r.left() >= 8*8 {
		return 1
	}
	return r.get(r.left())
}

package tokenizer

// symbol is a node of the doubly linked list that merging shortens.
type symbol struct {
	id         Token // -1: merged away
	from, to   int   // bytes of the text
	prev, next int
}

// candidate is a possible merge of two neighbours; the queue gives the best first, ties to the left.
type candidate struct {
	cost        float64 // lower is better: BPE rank, or SentencePiece's negated score
	left, right int
	a, b, to    Token // what the neighbours were, and what they become
}

// queue is a binary heap (container/heap would box each element).
type queue []candidate

func (q queue) less(i, j int) bool {
	return q[i].cost < q[j].cost || (q[i].cost == q[j].cost && q[i].left < q[j].left)
}

func (q *queue) push(c candidate) {
	*q = append(*q, c)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() candidate {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			break
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
	*q = h
	return top
}

// join looks up what two neighbours become.
type join func(a, b *symbol) (to Token, cost float64, ok bool)

// mergeAll applies merges, best first, until none is left: O(n log n).
func mergeAll(syms []symbol, look join) {
	q := make(queue, 0, len(syms))
	try := func(l, r int) {
		if l < 0 || r < 0 {
			return
		}
		if to, cost, ok := look(&syms[l], &syms[r]); ok {
			q.push(candidate{cost, l, r, syms[l].id, syms[r].id, to})
		}
	}
	for i := 1; i < len(syms); i++ {
		try(i-1, i)
	}
	for len(q) > 0 {
		c := q.pop()
		l, r := &syms[c.left], &syms[c.right]
		if l.id != c.a || r.id != c.b || l.next != c.right {
			continue // one of them has changed since
		}
		l.id, l.to, l.next = c.to, r.to, r.next
		r.id = merged
		if r.next >= 0 {
			syms[r.next].prev = c.left
		}
		try(l.prev, c.left)
		try(c.left, l.next)
	}
}

const (
	merged  Token = -2
	unknown Token = -1
)

// link makes the list of n symbols.
func link(syms []symbol) {
	for i := range syms {
		syms[i].prev, syms[i].next = i-1, i+1
	}
	if len(syms) > 0 {
		syms[len(syms)-1].next = -1
	}
}

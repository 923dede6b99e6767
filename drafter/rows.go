package drafter

import "github.com/outrider-llm/outrider/speculative"

// Rows knows which rows a draft model holds of one sequence, and says which it has to run to expand several
// nodes in one pass. The zero value holds none.
type Rows struct {
	chain   []speculative.Token // held before start
	tokens  []speculative.Token // of the last pass, which began at len(chain)
	parents []int32             // of these, -1: the end of chain
}

// Pass is one pass of a draft model.
type Pass struct {
	Start   int
	Tokens  []speculative.Token
	Parents []int32 // nil: a chain
	Keep    []int32 // rows of the pass before that go on being held, nil: as many as fit
	At      []int   // per text, the row that the choice is wanted after
}

// Plan returns the pass that reads these texts to their ends; none is empty, the first is the most probable: its
// rows stay held longest. What is run counts as held from now on.
func (r *Rows) Plan(texts [][]speculative.Token) Pass {
	p := Pass{Keep: r.settle(texts[0])}
	p.Start = len(r.chain)
	for _, t := range texts {
		p.Start = min(p.Start, common(r.chain, t), len(t)-1)
	}
	r.chain = append(r.chain[:p.Start:p.Start], texts[0][p.Start:p.Start]...)
	for _, t := range texts {
		p.At = append(p.At, p.read(t[p.Start:]))
	}
	r.tokens, r.parents = p.Tokens, p.Parents
	straight := true
	for i, up := range p.Parents {
		straight = straight && int(up) == i-1
	}
	if straight {
		p.Parents = nil
	}
	return p
}

// read adds what is missing of a path to the tree, and returns its last row.
func (p *Pass) read(path []speculative.Token) int {
	at := int32(-1)
	for _, t := range path {
		next := int32(-1)
		for i := int(at) + 1; i < len(p.Tokens); i++ {
			if p.Parents[i] == at && p.Tokens[i] == t {
				next = int32(i)
				break
			}
		}
		if next < 0 {
			next = int32(len(p.Tokens))
			p.Tokens, p.Parents = append(p.Tokens, t), append(p.Parents, at)
		}
		at = next
	}
	return int(at)
}

// settle makes a chain of what is held along a text, and returns the rows of the last pass that are in it; nil
// when that pass was a chain.
func (r *Rows) settle(text []speculative.Token) (keep []int32) {
	begin := len(r.chain)
	if begin > len(text) || common(r.chain, text) < begin {
		text = nil
	} else {
		text = text[begin:]
	}
	tree := false
	at := int32(-1)
	for i, t := range r.tokens {
		tree = tree || int(r.parents[i]) != i-1
		if r.parents[i] == at && len(keep) < len(text) && text[len(keep)] == t {
			keep = append(keep, int32(i))
			r.chain = append(r.chain, t)
			at = int32(i)
		}
	}
	if !tree { // all of it is held
		r.chain = append(r.chain, r.tokens[len(keep):]...)
		keep = nil
	}
	r.tokens, r.parents = nil, nil
	return keep
}

// Forget says that no rows are held any more.
func (r *Rows) Forget() { *r = Rows{} }

func common(a, b []speculative.Token) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

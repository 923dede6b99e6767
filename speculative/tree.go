package speculative

import (
	"math"
	"slices"
)

// node is a drafted token. Its place in the tree says which log it continues.
type node struct {
	id         uint64
	token      Token
	pos        int
	number     int // within the epoch; -1: not sent
	parent     *node
	kids       []*node
	logp       float64 // path probability, relative to the first root
	p          float64 // probability given the parent
	raw        float32 // the confidence its own expansion reported
	second     Token   // the runner-up of its expansion
	firstTok   Token
	q          *Sparse // what it was drawn from; nil: a point mass
	expanded   bool
	dead       bool
	everSent   bool
	unpromised bool    // its expansion was withheld as improbable
	guessed    bool    // expanded by Guess
	sure       float64 // the probability of what was guessed
	opinion    bool    // guessed, and the draft was asked, too
	passed     bool    // committed
}

// Pending returns the most probable drafted continuation that has no verdict yet.
func (p *Proposer) Pending() []Token {
	var out []Token
	for n := p.root; len(n.kids) > 0; {
		n = n.kids[0]
		out = append(out, n.token)
	}
	return out
}

// Draft is a drafted token that has no verdict yet.
type Draft struct {
	Position int
	Token    Token
	Parent   int // index among the drafts, -1: the last committed token
	Number   int // within the epoch, -1: not sent on this stream
}

// Drafts returns all drafted tokens that may still agree with the log; parents come first.
func (p *Proposer) Drafts() []Draft {
	index := map[*node]int{p.root: -1}
	out := make([]Draft, len(p.live))
	for i, n := range p.live {
		index[n] = i
		out[i] = Draft{Position: n.pos, Token: n.token, Parent: index[n.parent], Number: n.number}
	}
	return out
}

func (p *Proposer) add(parent *node, t Token, prob float64, q *Sparse) {
	p.nextID++
	n := &node{id: p.nextID, token: t, q: q, pos: parent.pos + 1, number: -1, parent: parent, p: prob,
		logp: parent.logp + math.Log(prob), firstTok: -1}
	parent.kids = append(parent.kids, n)
	p.live = append(p.live, n)
	p.unsent = append(p.unsent, n)
}

// advance moves the root along one committed token.
func (p *Proposer) advance(t Token) *node {
	r := p.root
	if r.expanded && (!r.guessed || r.opinion) {
		p.agree.observe(r.firstTok == t)
		if p.stats.Compared++; r.firstTok == t {
			p.stats.Agreed++
		}
		p.cal.observe(r.raw, r.firstTok == t, r.second == t)
	}
	var next *node
	for _, k := range r.kids {
		if k.token == t {
			next = k
		}
	}
	if next == nil {
		p.nextID++
		next = &node{id: p.nextID, token: t, pos: r.pos + 1, number: -1, parent: r, logp: r.logp, firstTok: -1}
	}
	p.root = next
	p.log = append(p.log, t)
	return next
}

// prune drops what is off the committed path. The epoch goes on if the walk ended on a sent node;
// otherwise a new one begins, and then all that survives is unsent.
func (p *Proposer) prune(agreed, accepted int) {
	decided := 0
	for r := p.root; r != nil; r = r.parent {
		r.passed = true
	}
	keep := p.live[:0]
	for _, n := range p.live {
		switch {
		case n == p.root:
		case n.under(p.root):
			keep = append(keep, n)
			continue
		default:
			n.dead = true
		}
		if n.number >= 0 && !n.misled() {
			decided++
		}
	}
	clear(p.live[len(keep):])
	p.live = keep
	for r := p.root.parent; r != nil; r = r.parent {
		r.dead = true
	}
	p.root.parent = nil
	p.root.dead = false
	p.unsent = slices.DeleteFunc(p.unsent, func(n *node) bool { return n.dead || n == p.root })
	if p.root.unpromised && len(p.root.kids) == 0 {
		p.root.expanded, p.root.unpromised, p.root.guessed, p.root.opinion = false, false, false, false // withheld as improbable, wanted now
	}
	p.pay.observe(agreed, min(accepted, agreed), decided, len(p.log))
	if p.root.number < 0 {
		p.newEpoch()
	}
}

// misled says that a decided node is a guess, or hung on one that was wrong: it says nothing about the draft.
func (n *node) misled() bool {
	for !n.passed && n.parent != nil && !n.parent.passed {
		n = n.parent
	}
	return n.parent != nil && n.parent.guessed
}

func (n *node) under(root *node) bool {
	for n != nil && n.pos > root.pos {
		n = n.parent
	}
	return n == root
}

func (n *node) path(root *node) []Token {
	path := make([]Token, n.pos-root.pos)
	for i := len(path) - 1; i >= 0; i-- {
		path[i] = n.token
		n = n.parent
	}
	return path
}

package simulation

import "github.com/outrider-llm/outrider/speculative"

// verdict on a delivered message.
type verdict uint8

const (
	wellFormed verdict = iota
	malformed
	forgotten // repeats a node that the cloud need not remember: either answer is right
)

// naive recomputes from everything delivered on one stream what a verifier must know.
type naive struct {
	window int
	epoch  int
	nodes  []naiveNode // of the newest epoch, by number
}

type naiveNode struct {
	token  Token
	parent int
}

func newNaive(window int) *naive { return &naive{window: window, epoch: -1} }

// deliver says what a proposal deserves, and remembers it.
func (n *naive) deliver(m *speculative.Propose, log []Token) verdict {
	switch {
	case m.Epoch < 0, m.First < 0, m.Parents != nil && len(m.Parents) != len(m.Tokens),
		m.Confidence != nil && len(m.Confidence) != len(m.Tokens), len(m.Tokens) > n.window, m.Epoch > len(log):
		return malformed
	case m.Epoch < n.epoch:
		return wellFormed // stale
	case m.Epoch > n.epoch && m.First != 0:
		return malformed
	case m.Epoch > n.epoch:
		n.epoch, n.nodes = m.Epoch, nil
	}
	known := len(n.nodes)
	if m.First > known {
		return malformed
	}
	answer := wellFormed
	for i, t := range m.Tokens {
		number, parent := m.First+i, m.First+i-1
		if m.Parents != nil {
			parent = int(m.Parents[i])
		}
		switch {
		case number < known:
			if n.nodes[number] == (naiveNode{t, parent}) {
				continue
			}
			if number >= known-n.window-1 {
				return malformed
			}
			answer = forgotten
			continue
		case parent < -1, parent >= number, parent < number-n.window-1:
			return malformed
		}
		n.nodes = append(n.nodes, naiveNode{t, parent})
		if numbers, _ := n.live(log); len(numbers) > n.window {
			return malformed
		}
	}
	return answer
}

// live returns the nodes whose whole path agrees with the log and goes beyond it, and the hash of
// what lies beyond of each.
func (n *naive) live(log []Token) (numbers []int, beyond []hash) {
	agrees := make([]bool, len(n.nodes))
	position := make([]int, len(n.nodes))
	hashes := make([]hash, len(n.nodes))
	for i, node := range n.nodes {
		agrees[i], position[i] = true, n.epoch
		if p := node.parent; p >= 0 {
			agrees[i], position[i], hashes[i] = agrees[p], position[p]+1, hashes[p]
		}
		if position[i] < len(log) {
			agrees[i] = agrees[i] && log[position[i]] == node.token
			continue
		}
		hashes[i] = hashes[i].push(node.token)
		if agrees[i] {
			numbers, beyond = append(numbers, i), append(beyond, hashes[i])
		}
	}
	return numbers, beyond
}

// judge recomputes what a step must commit: the target's choices along the segment's tree.
func judge(s *speculative.Segment, choices []speculative.Choice) (tokens []Token, fates []speculative.Fate) {
	children := func(row int) (out []int) {
		for i := row + 1; i < len(s.Tokens); i++ {
			if (s.Parents == nil && i == row+1) || (s.Parents != nil && int(s.Parents[i]) == row) {
				out = append(out, i)
			}
		}
		return out
	}
	edge := len(s.Tokens) - s.Own // what follows is the cloud's own
	for row := 0; ; {
		t := choices[row].Token
		next, kids := -1, children(row)
		for _, k := range kids {
			if s.Tokens[k] == t && next < 0 {
				next = k
			}
		}
		tokens = append(tokens, t)
		switch {
		case next >= edge:
			fates = append(fates, speculative.RunAhead)
			row = next
			continue
		case next >= 0:
			fates = append(fates, speculative.Accepted)
			row = next
			continue
		case edge == 1 || row >= edge:
			return tokens, append(fates, speculative.RunAhead)
		case len(kids) > 0 && kids[0] < edge:
			return tokens, append(fates, speculative.Correction)
		}
		return tokens, append(fates, speculative.Bonus)
	}
}

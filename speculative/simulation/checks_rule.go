package simulation

import (
	"slices"
	"strings"
)

// i1OneLog is I1 under a rule by which the log is no fixed function: the edge has the log of the cloud
// that it listens to, as far as it has heard, and each token is one that the rule allows there.
func (s *Sim) i1OneLog(x *session) {
	log, c := x.edge.p.Log(), &x.cloud
	if c.v != nil && c.parked == nil && c.stream == x.link.stream {
		if all := c.v.Log(); len(log) > len(all) || !slices.Equal(log, all[:len(log)]) {
			s.violate("I1", x, "the edge has %v, the cloud %v", log, all)
		}
	}
	h := hashOf(x.prompt)
	for i, t := range log[len(x.prompt):] {
		switch {
		case t == x.world.target(h):
		case x.world.takes(h, t):
			s.result.Seen.Lenient++
		default:
			s.violate("I1", x, "token %d at %d: the target chooses %d and takes no such token", t, len(x.prompt)+i, x.world.target(h))
		}
		h = h.push(t)
	}
}

// upToEnd is a log up to where it must end.
func (w *World) upToEnd(log []Token, prompt, length int, stop []string) []Token {
	text := ""
	for i := prompt; i < len(log); i++ {
		if log[i] == endToken || i+1 == length {
			return log[:i+1]
		}
		text += string(piece(log[i]))
		for _, s := range stop {
			if strings.Contains(text, s) {
				return log[:i+1]
			}
		}
	}
	return append(slices.Clone(log), -1) // it has no end yet
}

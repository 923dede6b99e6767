package simulation

import (
	"slices"

	"github.com/outrider-llm/outrider/speculative"
)

// rows is what the target model holds of one session. The model sees nothing but its own rows and
// the segments it is given, so wrong bookkeeping in the verifier yields wrong tokens.
type rows struct {
	tokens []Token
	start  int     // of the last segment
	last   []Token // the last segment when it was a tree
}

// forward runs a segment like a backend does: settle the last tree, drop what lies at and beyond
// Start, run the tokens. It fails when the rows before Start are not held.
func (k *rows) forward(w *World, s speculative.Segment) ([]speculative.Choice, bool) {
	if k.last != nil {
		k.tokens = k.tokens[:k.start]
		if s.Keep == nil {
			k.tokens = append(k.tokens, k.last...)
		}
		for _, r := range s.Keep {
			k.tokens = append(k.tokens, k.last[r])
		}
		k.last = nil
	}
	if s.Start > len(k.tokens) {
		return nil, false
	}
	k.tokens = k.tokens[:s.Start]
	base := hashOf(k.tokens)
	hashes := make([]hash, len(s.Tokens))
	choices := make([]speculative.Choice, len(s.Tokens))
	for i, t := range s.Tokens {
		from := base
		switch {
		case s.Parents != nil && s.Parents[i] >= 0:
			from = hashes[s.Parents[i]]
		case s.Parents == nil && i > 0:
			from = hashes[i-1]
		}
		hashes[i] = from.push(t)
		choices[i].Token = w.judge(hashes[i], following(&s, i))
	}
	k.start = s.Start
	if s.Parents != nil {
		k.last = slices.Clone(s.Tokens)
	} else {
		k.tokens = append(k.tokens, s.Tokens...)
	}
	return choices, true
}

// following lists the tokens that follow a segment's row.
func following(s *speculative.Segment, row int) (out []Token) {
	for i := row + 1; i < len(s.Tokens); i++ {
		if s.Parents == nil && i == row+1 || s.Parents != nil && int(s.Parents[i]) == row {
			out = append(out, s.Tokens[i])
		}
	}
	return out
}

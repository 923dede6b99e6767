// Package pair says whether a draft fits a target, and what it would be worth: whether they share a
// vocabulary, how often they agree, and what that makes of a given link.
package pair

import (
	"fmt"
	"regexp"

	"github.com/outrider-llm/outrider/tokenizer"
)

// Fit says how far two vocabularies are one. They are compared by their tokens: files often have
// more rows than tokens, each its own number of them (Qwen 2.5: 151,936 in 0.5B, 152,064 in 7B).
type Fit struct {
	Fits      bool   `json:"fits"`      // token ids mean the same to both
	Identical bool   `json:"identical"` // also row by row, and text is split by the same rules
	Target    int    `json:"target_rows"`
	Draft     int    `json:"draft_rows"`
	Padding   int    `json:"padding_rows"` // that one has and the other not
	Extra     int    `json:"extra_tokens"` // that one has beyond the other's, apart from padding
	Differ    int    `json:"different_tokens"`
	Text      string `json:"text"` // for people
}

// padding are names of rows that no text yields.
var padding = regexp.MustCompile(`^(?:\[PAD\d+\]|<pad_?\d+>|<unused_?\d+>|<\|(?:dummy|unused|extra|reserved|placeholder)[a-z_]*_?\d+\|>|)$`)

// Compare compares the vocabularies of a target and a draft.
func Compare(target, draft *tokenizer.Tokenizer) Fit {
	f := Fit{Target: target.Size(), Draft: draft.Size()}
	if target.Fingerprint() == draft.Fingerprint() && f.Target == f.Draft {
		f.Fits, f.Identical, f.Text = true, true, fmt.Sprintf("the same vocabulary of %d tokens", f.Target)
		return f
	}
	both := min(f.Target, f.Draft)
	first := tokenizer.Token(-1)
	for k := range tokenizer.Token(both) {
		a, b := target.Piece(k), draft.Piece(k)
		if a == b && target.IsControl(k) == draft.IsControl(k) || padding.MatchString(a) && padding.MatchString(b) {
			continue
		}
		if f.Differ++; first < 0 {
			first = k
		}
	}
	longer := target
	if f.Draft > f.Target {
		longer = draft
	}
	for k := tokenizer.Token(both); int(k) < longer.Size(); k++ {
		if padding.MatchString(longer.Piece(k)) {
			f.Padding++
		} else {
			f.Extra++
		}
	}
	f.Fits = f.Differ == 0
	switch {
	case !f.Fits:
		f.Text = fmt.Sprintf("different vocabularies: %d of %d token ids mean something else, first %d: %q and %q",
			f.Differ, both, first, target.Piece(first), draft.Piece(first))
	case f.Extra == 0 && target.Fingerprint() == draft.Fingerprint():
		f.Text = fmt.Sprintf("the same vocabulary: %d rows in both, the other rows are padding (%d rows in the target, %d in the draft)", both, f.Target, f.Draft)
	case f.Padding+f.Extra == 0:
		f.Text = fmt.Sprintf("the same %d tokens; the rules by which text is split differ, those of the target count", both)
	case f.Extra == 0:
		f.Text = fmt.Sprintf("the same %d tokens, and %d rows of padding (%d rows in the target, %d in the draft)", both, f.Padding, f.Target, f.Draft)
	default:
		f.Text = fmt.Sprintf("the same first %d tokens; %d more are in the %s only", both, f.Extra, map[bool]string{true: "target", false: "draft"}[longer == target])
	}
	return f
}

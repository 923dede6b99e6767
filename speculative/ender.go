package speculative

import (
	"bytes"
	"slices"
)

// Ending says when a generation ends. Both sides apply it by the same pure function; the cloud
// decides.
type Ending struct {
	MaxLength int     // of the log, prompt included; 0: no end
	EndTokens []Token // of the model; none when the request ignores them
	Stop      []string
	Piece     func(Token) []byte // bytes of a token's text; needed for Stop only
}

// Ender follows one generation. It keeps only as much text as the longest stop string needs.
type Ender struct {
	e    Ending
	keep int
	tail []byte
}

// NewEnder returns an Ender at the start of the generated text.
func NewEnder(e Ending) *Ender {
	n := &Ender{e: e}
	for _, s := range e.Stop {
		n.keep = max(n.keep, len(s)-1)
	}
	return n
}

// Push takes the next generated token, after which the log has the given length, and says whether
// the generation ends with it.
func (n *Ender) Push(t Token, length int) Finish {
	if slices.Contains(n.e.EndTokens, t) {
		return FinishEnd
	}
	if len(n.e.Stop) > 0 && n.e.Piece != nil {
		n.tail = append(n.tail, n.e.Piece(t)...)
		if StopIndex(n.tail, n.e.Stop) >= 0 {
			return FinishStop
		}
		if cut := len(n.tail) - n.keep; cut > 0 {
			n.tail = append(n.tail[:0], n.tail[cut:]...)
		}
	}
	if n.e.MaxLength > 0 && length >= n.e.MaxLength {
		return FinishLength
	}
	return NotFinished
}

// StopIndex returns where the first stop string begins in text, or -1.
func StopIndex(text []byte, stop []string) int {
	first := -1
	for _, s := range stop {
		if s == "" {
			continue
		}
		if i := bytes.Index(text, []byte(s)); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

package grammar

import (
	"bytes"
	"slices"
	"sync"
)

// Vocabulary holds what tokens spell. It is safe for concurrent use.
type Vocabulary struct {
	size  int
	bytes func(Token) []byte
	ends  []Token

	once   sync.Once
	sorted []Token // tokens with text, by their text
	common []uint8 // leading bytes in common with the one before; 255: that or more
}

// NewVocabulary describes size tokens. bytes returns a token's text, none for those without; ends are
// the tokens after which a text ends.
func NewVocabulary(size int, bytes func(Token) []byte, ends []Token) *Vocabulary {
	return &Vocabulary{size: size, bytes: bytes, ends: slices.Clone(ends)}
}

// text is what a token adds to the text; none: it may not be used in one.
func (v *Vocabulary) text(t Token) []byte {
	if t < 0 || int(t) >= v.size || slices.Contains(v.ends, t) {
		return nil
	}
	return v.bytes(t)
}

// longest bounds a token's text for the sake of the bound on work.
const longest = 255

func (v *Vocabulary) index() {
	v.once.Do(func() {
		for t := range Token(v.size) {
			if n := len(v.text(t)); n > 0 && n < longest {
				v.sorted = append(v.sorted, t)
			}
		}
		slices.SortFunc(v.sorted, func(a, b Token) int {
			if c := bytes.Compare(v.bytes(a), v.bytes(b)); c != 0 {
				return c
			}
			return int(a - b)
		})
		v.common = make([]uint8, len(v.sorted))
		for i := 1; i < len(v.sorted); i++ {
			a, b := v.bytes(v.sorted[i-1]), v.bytes(v.sorted[i])
			n := 0
			for n < len(a) && n < len(b) && a[n] == b[n] {
				n++
			}
			v.common[i] = uint8(n)
		}
	})
}

// After returns the state after a token, nil when the token may not come next. Whatever ends a text
// is left to Ends.
func (v *Vocabulary) After(g *Grammar, s *State, t Token) *State {
	text := v.text(t)
	if s == nil || len(text) == 0 || len(text) >= longest {
		return nil
	}
	return g.Step(s, text)
}

// Ends says whether a token ends the text.
func (v *Vocabulary) Ends(t Token) bool { return slices.Contains(v.ends, t) }

// maxWork bounds one look at the whole vocabulary, in threads stepped. Grammars whose texts can be
// read in hundreds of ways may then show fewer tokens than there are.
const maxWork = 4 << 20

// Each calls yield with every token that may come next, until it returns false. The end tokens are among
// them when the text may end.
func (v *Vocabulary) Each(g *Grammar, s *State, yield func(Token) bool) {
	if s == nil {
		return
	}
	if s.complete {
		for _, t := range v.ends {
			if !yield(t) {
				return
			}
		}
	}
	v.index()
	g.mu.Lock()
	defer g.mu.Unlock()
	path := make([]*State, 1, 64) // path[n] is the state after n bytes
	path[0] = s
	work := 0
	for i, t := range v.sorted {
		n := int(v.common[i])
		if n >= len(path) { // what they have in common leads nowhere
			continue
		}
		path = path[:n+1]
		at := path[n]
		for _, b := range v.bytes(t)[n:] {
			if work += len(at.threads); work > maxWork {
				return
			}
			if at = g.step(at, b); at == nil {
				break
			}
			path = append(path, at)
		}
		if at != nil && !yield(t) {
			return
		}
	}
}

// Track follows one text token by token, as a sampler does; it implements speculative.Acceptor. It is
// not safe for concurrent use.
type Track struct {
	g      *Grammar
	v      *Vocabulary
	states []*State // after each token; nil: the grammar does not allow it, or it is over
}

// NewTrack begins a text.
func NewTrack(g *Grammar, v *Vocabulary) *Track {
	return &Track{g: g, v: v, states: []*State{g.Start()}}
}

func (t *Track) state() *State { return t.states[len(t.states)-1] }

// Push appends a token. After one that is not acceptable, and after an end token, nothing is.
func (t *Track) Push(k Token) { t.states = append(t.states, t.v.After(t.g, t.state(), k)) }

// Truncate cuts the text to n tokens.
func (t *Track) Truncate(n int) {
	if n >= 0 && n+1 < len(t.states) {
		clear(t.states[n+1:])
		t.states = t.states[:n+1]
	}
}

// Accepts says whether a token may come next.
func (t *Track) Accepts(k Token) bool {
	if t.v.Ends(k) {
		return t.state().Complete()
	}
	return t.v.After(t.g, t.state(), k) != nil
}

// Each calls yield with every token that may come next.
func (t *Track) Each(yield func(Token) bool) { t.v.Each(t.g, t.state(), yield) }

// Fallback is the token to take when none may come next: it ends the text.
func (t *Track) Fallback() Token {
	if len(t.v.ends) == 0 {
		return 0
	}
	return slices.Min(t.v.ends)
}

package chat

import (
	"crypto/rand"
	"math/big"
	"strings"
	"unicode"

	"github.com/outrider-llm/outrider/tokenizer"
)

// Places of texts that stand under no key: an object's keys, and an assistant's own words.
const (
	keyOf = "\x00key"
	ownOf = "\x00own"
)

// How much is bracketed.
const (
	all      = iota // texts
	specials        // special pieces in texts
	foreign         // the same, but an assistant's words may hold user-defined tokens, such as <think>
	nothing
)

// marks puts unguessable brackets around what people wrote, so that it is found again in what a
// template made of it. They are digits between characters of a private area, so that a template's trimming,
// searching and case changes pass them by.
type marks struct {
	open, shut string
	t          *tokenizer.Tokenizer
	also       map[tokenizer.Token]bool // user-defined tokens that are special to the template
	level      int
	found      bool // a special piece was seen
}

func newMarks(t *tokenizer.Tokenizer, also map[tokenizer.Token]bool) *marks {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	id := new(big.Int).SetBytes(b[:]).String()
	return &marks{open: "\ue0f0" + id + "\ue0f1", shut: "\ue0f2" + id + "\ue0f3", t: t, also: also}
}

// plain leaves text as it is, and notes whether it holds special pieces.
func (m *marks) plain(_, s string) string {
	m.found = m.found || len(m.t.SpecialSpans(s, m.also)) > 0
	return s
}

// mark brackets a text. Names, ids and kinds are compared and measured by templates, and so are
// keys: of them, only special pieces are bracketed.
func (m *marks) mark(key, s string) string {
	structural := key == keyOf || key == "role" || key == "type" || key == "id" || key == "tool_call_id" || key == "name"
	switch {
	case m.level == foreign && key == ownOf:
		return m.pieces(s, nil)
	case m.level != all || structural:
		return m.pieces(s, m.also)
	}
	core := strings.TrimFunc(s, unicode.IsSpace)
	if core == "" {
		return s
	}
	at := strings.Index(s, core)
	return s[:at] + m.open + core + m.shut + s[at+len(core):]
}

// pieces brackets the special pieces in a text.
func (m *marks) pieces(s string, also map[tokenizer.Token]bool) string {
	var b strings.Builder
	at := 0
	for _, span := range m.t.SpecialSpans(s, also) {
		b.WriteString(s[at:span[0]] + m.open + s[span[0]:span[1]] + m.shut)
		at = span[1]
	}
	b.WriteString(s[at:])
	return b.String()
}

// split takes the brackets out of a rendered text; ok is false when they do not come in pairs.
func (m *marks) split(text string) (parts []Part, ok bool) {
	for {
		before, rest, found := strings.Cut(text, m.open)
		if strings.Contains(before, m.shut) {
			return nil, false
		}
		parts = appendPart(parts, before, true)
		if !found {
			return parts, true
		}
		inside, after, found := strings.Cut(rest, m.shut)
		if !found || strings.Contains(inside, m.open) {
			return nil, false
		}
		parts = appendPart(parts, inside, false)
		text = after
	}
}

func appendPart(parts []Part, text string, special bool) []Part {
	if text == "" {
		return parts
	}
	if n := len(parts); n > 0 && parts[n-1].Special == special {
		parts[n-1].Text += text
		return parts
	}
	return append(parts, Part{Text: text, Special: special})
}

func joined(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

package tokenizer

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Decode returns the text of tokens, control tokens left out. Bytes that are not UTF-8 become
// U+FFFD each. A SentencePiece vocabulary's space before the text is taken off again.
func (t *Tokenizer) Decode(tokens []Token) string {
	s := t.NewStream(true)
	var b strings.Builder
	for _, k := range tokens {
		b.WriteString(s.Push(k))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// Stream decodes token by token and gives out whole characters only.
type Stream struct {
	t    *Tokenizer
	trim bool
	hold []byte
}

// NewStream returns a decoder; start says that the tokens begin a text rather than continue one.
func (t *Tokenizer) NewStream(start bool) *Stream {
	return &Stream{t: t, trim: start && t.prefix}
}

// Push takes the next token and returns the text that became complete with it.
func (s *Stream) Push(k Token) string {
	raw := s.t.Bytes(k)
	if s.trim && len(raw) > 0 {
		raw = bytes.TrimPrefix(raw, []byte(" "))
		s.trim = false
	}
	s.hold = append(s.hold, raw...)
	n := complete(s.hold)
	out := string([]rune(string(s.hold[:n])))
	s.hold = append(s.hold[:0], s.hold[n:]...)
	return out
}

// Flush returns what was held back; call it at the end.
func (s *Stream) Flush() string {
	out := string([]rune(string(s.hold)))
	s.hold = s.hold[:0]
	return out
}

// complete returns the length of b without a character at its end that further bytes may complete.
func complete(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

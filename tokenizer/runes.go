package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// class is what llama.cpp knows of a character (unicode.h): one general category, and white space.
type class uint8

const (
	other class = iota // control, private, unassigned
	letterClass
	numberClass
	markClass
	punctClass
	symbolClass
	spaceClass
)

// asciiClass holds the classes below U+0080.
var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range t {
		t[r] = slowClass(rune(r))
	}
	return t
}()

func classOf(r rune) class {
	if r < utf8.RuneSelf {
		return asciiClass[r]
	}
	return slowClass(r)
}

func slowClass(r rune) class {
	switch {
	case unicode.IsSpace(r):
		return spaceClass
	case unicode.IsLetter(r):
		return letterClass
	case unicode.IsNumber(r):
		return numberClass
	case unicode.IsMark(r):
		return markClass
	case unicode.IsPunct(r):
		return punctClass
	case unicode.IsSymbol(r):
		return symbolClass
	// What Unicode 15.1 added to Go's 15.0; llama.cpp knows it.
	case r >= 0x2FFC && r <= 0x2FFF, r == 0x31EF:
		return symbolClass
	case r >= 0x2EBF0 && r <= 0x2EE5D:
		return letterClass
	}
	return other
}

func letter(r rune) bool { return classOf(r) == letterClass }
func number(r rune) bool { return classOf(r) == numberClass }
func mark(r rune) bool   { return classOf(r) == markClass }
func punct(r rune) bool  { return classOf(r) == punctClass }
func space(r rune) bool  { return classOf(r) == spaceClass }

// marked is [\p{L}\p{M}]
func marked(r rune) bool { c := classOf(r); return c == letterClass || c == markClass }

// sign is [^\s\p{L}\p{N}]
func sign(r rune) bool {
	c := classOf(r)
	return c != spaceClass && c != letterClass && c != numberClass
}

// punctOrSymbol is [\p{P}\p{S}]
func punctOrSymbol(r rune) bool { c := classOf(r); return c == punctClass || c == symbolClass }

func newline(r rune) bool    { return r == '\r' || r == '\n' }
func asciiDigit(r rune) bool { return r >= '0' && r <= '9' }
func asciiAlpha(r rune) bool { return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') }

// han is \p{Han} as llama.cpp lists it.
func han(r rune) bool {
	return within(r, [][2]rune{{0x4E00, 0x9FFF}, {0x3400, 0x4DBF}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
		{0x2B820, 0x2CEAF}, {0x2CEB0, 0x2EBEF}, {0xF900, 0xFAFF}, {0x2F800, 0x2FA1F}})
}

func within(r rune, ranges [][2]rune) bool {
	for _, x := range ranges {
		if r >= x[0] && r <= x[1] {
			return true
		}
	}
	return false
}

// decode is utf8.DecodeRuneInString that also takes lone surrogates, which normalize lets pass.
func decode(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 && len(s) > 2 && s[0] == 0xED {
		return rune(s[0]&15)<<12 | rune(s[1]&63)<<6 | rune(s[2]&63), 3
	}
	return r, n
}

// sequenceLength is how many bytes a character that begins with b claims.
func sequenceLength(b byte) int {
	switch {
	case b < 0xC0:
		return 1
	case b < 0xE0:
		return 2
	case b < 0xF0:
		return 3
	}
	return 4
}

// normalize replaces bytes that are not UTF-8 by U+FFFD each, as llama.cpp does for byte-level BPE;
// like it, overlong forms are taken for what they stand for, and lone surrogates pass.
func normalize(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, n := looseRune(s[i:])
		if r >= 0xD800 && r <= 0xDFFF {
			out = append(out, s[i:i+3]...)
		} else {
			out = utf8.AppendRune(out, r)
		}
		i += n
	}
	return string(out)
}

func looseRune(s string) (rune, int) {
	n := sequenceLength(s[0])
	if s[0] < 0x80 {
		return rune(s[0]), 1
	}
	if n == 1 || s[0] >= 0xF8 || len(s) < n {
		return utf8.RuneError, 1
	}
	r := rune(s[0]) & (0x7F >> n)
	for i := 1; i < n; i++ {
		if s[i]&0xC0 != 0x80 {
			return utf8.RuneError, 1
		}
		r = r<<6 | rune(s[i]&0x3F)
	}
	if r > utf8.MaxRune {
		return utf8.RuneError, 1
	}
	return r, n
}

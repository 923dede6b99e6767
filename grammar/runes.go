package grammar

import "unicode/utf8"

// runeRange is a range of characters.
type runeRange struct{ lo, hi rune }

// byteRange is a range of bytes.
type byteRange struct{ lo, hi byte }

// runes takes one character of the ranges, in UTF-8.
func (b *builder) runes(ranges []runeRange, next int32) int32 {
	var edges []edge
	for _, r := range ranges {
		splitUTF8(r.lo, r.hi, func(seq []byteRange) {
			to := next
			for i := len(seq) - 1; i > 0; i-- {
				to = b.tail(edge{seq[i].lo, seq[i].hi, to})
			}
			edges = append(edges, edge{seq[0].lo, seq[0].hi, to})
		})
	}
	return b.edges(edges...)
}

// tail shares equal continuations.
func (b *builder) tail(e edge) int32 {
	pc, ok := b.tails[e]
	if !ok {
		pc = b.edges(e)
		b.tails[e] = pc
	}
	return pc
}

// splitUTF8 cuts a range of characters into sequences of byte ranges. Surrogates are left out.
func splitUTF8(lo, hi rune, emit func([]byteRange)) {
	for _, part := range []runeRange{{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, utf8.MaxRune}} {
		if l, h := max(lo, part.lo), min(hi, part.hi); l <= h {
			splitSameLength(l, h, emit)
		}
	}
}

func splitSameLength(lo, hi rune, emit func([]byteRange)) {
	// Where only the last bytes differ, over their whole range or not, one sequence does.
	for i := uint(1); i < utf8.UTFMax; i++ {
		m := rune(1)<<(6*i) - 1
		if hi <= 0x7F || lo&^m == hi&^m {
			continue
		}
		if lo&m != 0 {
			splitSameLength(lo, lo|m, emit)
			splitSameLength((lo|m)+1, hi, emit)
			return
		}
		if hi&m != m {
			splitSameLength(lo, hi&^m-1, emit)
			splitSameLength(hi&^m, hi, emit)
			return
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	seq := make([]byteRange, len(a))
	for i := range a {
		seq[i] = byteRange{a[i], b[i]}
	}
	emit(seq)
}

// escapes are the characters that JSON writes by an escape, and how.
func escape(r rune) string {
	switch r {
	case '"', '\\':
		return `\` + string(r)
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	const hex = "0123456789abcdef"
	return `\u00` + string(hex[r>>4]) + string(hex[r&15])
}

func escaped(r rune) bool { return r < 0x20 || r == '"' || r == '\\' }

// jsonRunes takes one character of the ranges as it stands within a JSON string: by the shortest
// escape where one is needed, otherwise as it is.
func (b *builder) jsonRunes(ranges []runeRange, next int32) int32 {
	var plain []runeRange
	alternatives := []int32{pcFail}
	for _, r := range ranges {
		for c := r.lo; c <= min(r.hi, '\\'); c++ {
			if escaped(c) {
				alternatives = append(alternatives, b.literal(escape(c), next))
			}
		}
		for _, p := range []runeRange{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, utf8.MaxRune}} {
			if lo, hi := max(r.lo, p.lo), min(r.hi, p.hi); lo <= hi {
				plain = append(plain, runeRange{lo, hi})
			}
		}
	}
	alternatives[0] = b.runes(plain, next)
	return b.alt(alternatives...)
}

// quote writes a text as a JSON string in the same way.
func quote(s string) string {
	out := []byte{'"'}
	for _, r := range s {
		if escaped(r) {
			out = append(out, escape(r)...)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(append(out, '"'))
}

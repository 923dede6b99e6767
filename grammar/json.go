package grammar

import "unicode/utf8"

// Bounds on what JSON may be written in: models that lose their way write blanks or digits for ever.
const (
	maxIndent = 40 // blanks after a line break
	maxDigits = 20 // before and after the point
)

// space goes between the parts of objects and arrays: nothing, a blank, or a line break with indentation.
func (b *builder) space(next int32) int32 {
	if pc, ok := b.spaces[next]; ok {
		return pc
	}
	blank := b.rule("blank", func() int32 { return b.edges(edge{' ', ' ', pcReturn}, edge{'\t', '\t', pcReturn}) })
	line := b.byteRange('\n', '\n', b.repeat(blank, 0, maxIndent, next))
	pc := b.alt(next, b.byteRange(' ', ' ', next), line)
	b.spaces[next] = pc
	return pc
}

// document allows white space before a value: many vocabularies begin words with a blank.
func (b *builder) document(value int32) int32 { return b.space(value) }

// anyValue is the rule of JSON values.
func (b *builder) anyValue() int32 {
	return b.rule("value", func() int32 {
		return b.alt(b.anyObject(), b.anyArray(), b.anyString(), b.number(pcReturn), b.literal("true", pcReturn),
			b.literal("false", pcReturn), b.literal("null", pcReturn))
	})
}

func (b *builder) anyObject() int32 {
	return b.rule("object", func() int32 { return b.list('{', '}', b.anyMember(), 0, -1) })
}

func (b *builder) anyMember() int32 {
	return b.rule("member", func() int32 {
		return b.call(b.anyString(), b.byteRange(':', ':', b.space(b.call(b.anyValue(), pcReturn))))
	})
}

func (b *builder) anyArray() int32 {
	return b.rule("array", func() int32 { return b.list('[', ']', b.anyValue(), 0, -1) })
}

// list is items between brackets, and returns; item is a rule.
func (b *builder) list(open, shut byte, item int32, least, most int) int32 {
	end := b.byteRange(shut, shut, pcReturn)
	if most == 0 {
		return b.byteRange(open, open, b.space(end))
	}
	more := b.byteRange(',', ',', b.space(b.call(item, pcReturn)))
	rest := -1
	if most > 0 {
		rest = most - 1
	}
	first := b.call(item, b.repeat(more, max(0, least-1), rest, b.space(end)))
	if least == 0 {
		first = b.alt(first, end)
	}
	return b.byteRange(open, open, b.space(first))
}

// anyString is the rule of strings.
func (b *builder) anyString() int32 {
	return b.rule("string", func() int32 { return b.byteRange('"', '"', b.call(b.restOfString(), pcReturn)) })
}

// restOfString is the rule of a string behind its opening quote.
func (b *builder) restOfString() int32 {
	return b.rule("chars", func() int32 {
		return b.star(b.byteRange('"', '"', pcReturn), func(again int32) int32 { return b.anyChar(again) })
	})
}

// oneChar is the rule of one character of a string.
func (b *builder) oneChar() int32 {
	return b.rule("char", func() int32 { return b.anyChar(pcReturn) })
}

// anyChar is one character however JSON may write it; surrogates come in pairs.
func (b *builder) anyChar(next int32) int32 {
	hex := func(next int32) int32 {
		return b.edges(edge{'0', '9', next}, edge{'a', 'f', next}, edge{'A', 'F', next})
	}
	two := hex(hex(next))
	three := hex(two)
	low := b.edges(edge{'c', 'f', two}, edge{'C', 'F', two})
	low = b.literal(`\u`, b.edges(edge{'d', 'd', low}, edge{'D', 'D', low}))
	high := hex(hex(low))
	surrogate := b.edges(edge{'0', '7', two}, edge{'8', '9', high}, edge{'a', 'b', high}, edge{'A', 'B', high})
	unicode := b.edges(edge{'0', '9', three}, edge{'a', 'c', three}, edge{'e', 'f', three}, edge{'A', 'C', three}, edge{'E', 'F', three},
		edge{'d', 'd', surrogate}, edge{'D', 'D', surrogate})
	var short []edge
	for _, c := range []byte(`"\/bfnrt`) {
		short = append(short, edge{c, c, next})
	}
	esc := b.byteRange('\\', '\\', b.edges(append(short, edge{'u', 'u', unicode})...))
	return b.alt(b.runes([]runeRange{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, utf8.MaxRune}}, next), esc)
}

// number is any JSON number of bounded length.
func (b *builder) number(next int32) int32 {
	digit := b.digit()
	exponent := b.edges(edge{'0', '9', b.alt(next, b.byteRange('0', '9', next))})
	exponent = b.alt(exponent, b.edges(edge{'+', '+', exponent}, edge{'-', '-', exponent}))
	after := b.alt(next, b.edges(edge{'e', 'e', exponent}, edge{'E', 'E', exponent}))
	fraction := b.alt(after, b.byteRange('.', '.', b.repeat(digit, 1, maxDigits, after)))
	return b.whole(fraction)
}

// integer is any whole number of bounded length, without exponent.
func (b *builder) integer(next int32) int32 { return b.whole(next) }

func (b *builder) whole(next int32) int32 {
	unsigned := b.edges(edge{'0', '0', next}, edge{'1', '9', b.repeat(b.digit(), 0, maxDigits-1, next)})
	return b.alt(unsigned, b.byteRange('-', '-', unsigned))
}

func (b *builder) digit() int32 {
	return b.rule("digit", func() int32 { return b.byteRange('0', '9', pcReturn) })
}

package tokenizer

import "strings"

// cased is the expression of GPT-4o and Tekken, where U is a letter but a-z, L a letter but A-Z
// (llama.cpp tells case apart in ASCII only), C a contraction:
//
//	[^\r\n\p{L}\p{N}]?U*L+C?|[^\r\n\p{L}\p{N}]?U+L*C?|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|
//	\s+(?!\S)|\s+
type cased struct {
	digits       int
	contractions bool
	marks        bool // marks count as letters
}

func (v cased) scan(s string, i int) int {
	if end := v.word(s, i); end > i {
		if v.contractions {
			return contraction(s, end, true)
		}
		return end
	}
	if end := run(s, i, number, v.digits); end > i {
		return end
	}
	if end := signs(s, i, sign); end > i {
		return run(s, end, func(r rune) bool { return newline(r) || r == '/' }, 0)
	}
	return spaces(s, i)
}

func (v cased) word(s string, i int) int {
	class := letter
	if v.marks {
		class = marked
	}
	upper := func(r rune) bool { return class(r) && (r < 'a' || r > 'z') }
	lower := func(r rune) bool { return class(r) && (r < 'A' || r > 'Z') }
	lead := after(s, i, func(r rune) bool { return !newline(r) && !letter(r) && !number(r) })
	starts := []int{lead, i}
	if lead == i {
		starts = starts[:1]
	}
	for _, from := range starts {
		if end := lowerEnd(s, from, upper, lower); end > from {
			return end
		}
	}
	for _, from := range starts {
		if end := run(s, from, upper, 0); end > from {
			return run(s, end, lower, 0)
		}
	}
	return i
}

// lowerEnd matches U*L+ with backtracking: when nothing lower follows the upper ones, the last of
// them that is both ends the word.
func lowerEnd(s string, i int, upper, lower func(rune) bool) int {
	both := i
	j := i
	for j < len(s) {
		r, n := decode(s[j:])
		if !upper(r) {
			break
		}
		j += n
		if lower(r) {
			both = j
		}
	}
	if end := run(s, j, lower, 0); end > j {
		return end
	}
	return both
}

// markedWords is [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+C?|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|
// \s+(?!\S)|\s+: what llama.cpp makes of expressions that name the kinds of letters
func markedWords(digits int) scanner {
	return func(s string, i int) int {
		lead := after(s, i, func(r rune) bool { return !newline(r) && !letter(r) && !number(r) })
		for _, from := range []int{lead, i} {
			if end := run(s, from, marked, 0); end > from {
				return contraction(s, end, true)
			}
		}
		if end := run(s, i, number, digits); end > i {
			return end
		}
		if end := signs(s, i, sign); end > i {
			return run(s, end, func(r rune) bool { return newline(r) || r == '/' }, 0)
		}
		return spaces(s, i)
	}
}

// deepseek3 is [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func deepseek3(s string, i int) int {
	if end := deepseekWord(s, i); end > i {
		return end
	}
	if end := signs(s, i, punctOrSymbol); end > i {
		return run(s, end, newline, 0)
	}
	return spaces(s, i)
}

// spark is deepseek3 with line ends by themselves:  ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+
func spark(s string, i int) int {
	if end := deepseekWord(s, i); end > i {
		return end
	}
	if end := signs(s, i, punctOrSymbol); end > i {
		return end
	}
	if end := oneNewline(s, i); end > i {
		return end
	}
	return blanks(s, i)
}

func deepseekWord(s string, i int) int {
	if c := s[i]; c > ' ' && c < 0x7F && !asciiAlpha(rune(c)) && !asciiDigit(rune(c)) {
		if end := run(s, i+1, asciiAlpha, 0); end > i+1 {
			return end
		}
	}
	lead := after(s, i, func(r rune) bool { return !newline(r) && !letter(r) && !punctOrSymbol(r) })
	if end := run(s, lead, marked, 0); end > lead {
		return end
	}
	return run(s, i, marked, 0)
}

// spaced is \s?class+
func spaced(class func(rune) bool) scanner {
	return func(s string, i int) int {
		for _, from := range []int{after(s, i, space), i} {
			if end := run(s, from, class, 0); end > from {
				return end
			}
		}
		return i
	}
}

// numbers is \p{N}{1,limit}, 0: \p{N}+
func numbers(limit int) scanner { return classes(number, limit) }

// classes matches a run of a class.
func classes(class func(rune) bool, limit int) scanner {
	return func(s string, i int) int { return run(s, i, class, limit) }
}

// falconPunct is [\p{P}\$\+<=>\^~\|`]+, or without the grave accent
func falconPunct(grave bool) scanner {
	return classes(func(r rune) bool { return punct(r) || strings.ContainsRune("$+<=>^~|", r) || (grave && r == '`') }, 0)
}

// threeDigits is [0-9][0-9][0-9]
func threeDigits(s string, i int) int {
	if end := run(s, i, asciiDigit, 3); end == i+3 {
		return end
	}
	return i
}

// oneNewline is [\r\n]
func oneNewline(s string, i int) int { return after(s, i, newline) }

// lines is [^\n]+|[\n]+
func lines(s string, i int) int {
	if s[i] == '\n' {
		return run(s, i, func(r rune) bool { return r == '\n' }, 0)
	}
	if n := strings.IndexByte(s[i:], '\n'); n > 0 {
		return i + n
	}
	return len(s)
}

// eastAsian is [一-龥ࠀ-一가-퟿]+
func eastAsian(s string, i int) int {
	return run(s, i, func(r rune) bool { return (r >= 0x0800 && r <= 0x9FA5 && !space(r)) || (r >= 0xAC00 && r <= 0xD7FF) }, 0)
}

// hanOrKana is [一-龥぀-ゟ゠-ヿ]+
func hanOrKana(s string, i int) int {
	return run(s, i, func(r rune) bool { return within(r, [][2]rune{{0x4E00, 0x9FA5}, {0x3040, 0x30FF}}) }, 0)
}

// youtuScripts is [가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+
func youtuScripts(s string, i int) int {
	for _, class := range [][][2]rune{{{0xAC00, 0xD7A3}, {0x3131, 0x318E}},
		{{0xFF01, 0xFF01}, {0x2026, 0x2026}, {0x201C, 0x201D}, {0x2018, 0x2019}, {0x2014, 0x2014}, {0xFF1A, 0xFF1B}, {0xFF0C, 0xFF0C}, {0x3001, 0x303F}, {0xFE30, 0xFE4F}},
		{{0x3105, 0x312F}}, {{0x4E00, 0x9FA5}, {0x3040, 0x30FF}}} {
		if end := run(s, i, func(r rune) bool { return within(r, class) }, 0); end > i {
			return end
		}
	}
	return i
}

// asianScripts is the second expression of afmoe: Han, kana, Thai, Lao, Khmer, Burmese, Hangul. Its
// compatibility ideographs begin at U+8C48, to which llama.cpp's source has been normalized.
func asianScripts(s string, i int) int {
	return run(s, i, func(r rune) bool {
		return within(r, [][2]rune{{0x4E00, 0x9FFF}, {0x3400, 0x4DBF}, {0x8C48, 0xFAFF}, {0x3040, 0x30FF}, {0xFF65, 0xFF9F}, {0x2F00, 0x2FDF},
			{0x0E40, 0x0EFF}, {0x1780, 0x17FF}, {0x1000, 0x109F}, {0xAA60, 0xAA7F}, {0xA9E0, 0xA9FF}, {0xAC00, 0xD7AF}, {0x1100, 0x11FF}})
	}, 0)
}

// unpunctuated is  ?[^(\s|.,!?…。，、।۔،)]+
func unpunctuated(s string, i int) int {
	return signs(s, i, func(r rune) bool { return !space(r) && !strings.ContainsRune("(|.,!?…。，、।۔،)", r) })
}

// sentinel is <sentinel:[0-9]+>
func sentinel(s string, i int) int {
	const head = "<sentinel:"
	if !strings.HasPrefix(s[i:], head) {
		return i
	}
	from := i + len(head)
	if end := run(s, from, asciiDigit, 0); end > from && end < len(s) && s[end] == '>' {
		return end + 1
	}
	return i
}

// imageToken is (IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z
func imageToken(s string, i int) int {
	const head = "IMGIMG"
	if !strings.HasPrefix(s[i:], head) {
		return i
	}
	from := i + len(head)
	if end := run(s, from, func(r rune) bool { return r >= 'A' && r <= 'I' }, 4); end > from && end < len(s) && s[end] == 'Z' {
		return end + 1
	}
	return i
}

// indent is ([\t\n]|    |  )
func indent(s string, i int) int {
	for _, w := range []string{"\t", "\n", "    ", "  "} {
		if strings.HasPrefix(s[i:], w) {
			return i + len(w)
		}
	}
	return i
}

// onePunct is [\p{P}!-/:-@\[-`{-~]
func onePunct(s string, i int) int {
	return after(s, i, func(r rune) bool { return punct(r) || (r > ' ' && r < 0x7F && !asciiAlpha(r) && !asciiDigit(r)) })
}

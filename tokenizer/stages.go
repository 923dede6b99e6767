package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// trailingSpace is the stage \s+$
func trailingSpace(s string, emit func(string)) {
	i := len(s)
	for i > 0 {
		r, n := utf8.DecodeLastRuneInString(s[:i])
		if !space(r) {
			break
		}
		i -= n
	}
	cutAt(s, emit, i)
}

// cutAt emits the parts of s between the ascending positions.
func cutAt(s string, emit func(string), at ...int) {
	from := 0
	for _, i := range append(at, len(s)) {
		if i > from {
			emit(s[from:i])
			from = i
		}
	}
}

// digitRuns calls f with each run of a class; ends holds where its characters end.
func digitRuns(s string, class func(rune) bool, f func(from int, ends []int)) {
	var ends []int
	for i := 0; i < len(s); {
		from := i
		ends = ends[:0]
		for i < len(s) {
			r, n := decode(s[i:])
			if !class(r) {
				break
			}
			i += n
			ends = append(ends, i)
		}
		if len(ends) > 0 {
			f(from, ends)
			continue
		}
		_, n := decode(s[i:])
		i += n
	}
}

// thousands is the stage (?=(\d{3})+(?!\d)): digits in threes, counted from the right.
func thousands(s string, emit func(string)) {
	var at []int
	digitRuns(s, asciiDigit, func(from int, ends []int) {
		for k := len(ends) % 3; k < len(ends); k += 3 {
			at = append(at, from+k)
		}
	})
	cutAt(s, emit, at...)
}

// threesWithText is what llama.cpp has for \d{1,3}(?=(?:\d{3})*\b): numbers in threes, counted from
// the right, the first group together with the text before it.
func threesWithText(s string, emit func(string)) {
	var at []int
	digitRuns(s, number, func(_ int, ends []int) {
		first := len(ends) % 3
		if first == 0 {
			first = 3
		}
		for k := first; k <= len(ends); k += 3 {
			at = append(at, ends[k-1])
		}
	})
	cutAt(s, emit, at...)
}

// deepseekLetter is the class of letters in deepseek-llm, which lists those with case.
func deepseekLetter(r rune) bool {
	if r < utf8.RuneSelf {
		return asciiAlpha(r)
	}
	return within(r, deepseekLetters)
}

// deepseekPunct is [!-/:-~！-／：-～‘-‟　-。]
func deepseekPunct(r rune) bool {
	return within(r, [][2]rune{{'!', '/'}, {':', '~'}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}, {0x2018, 0x201F}, {0x3001, 0x3002}})
}

var deepseekLetters = ranges("µ À-Ö Ø-ö ø-\u01ba \u01bc-\u01bf \u01c4-\u0293 \u0295-\u02af \u0370-\u0373 \u0376 \u0377 \u037b-\u037d \u037f " +
	"\u0386 \u0388-\u038a \u038c \u038e-\u03a1 \u03a3-\u03f5 \u03f7-\u0481 \u048a-\u052f \u0531-\u0556 \u10a0-\u10c5 \u13a0-\u13f5 " +
	"\u13f8-\u13fd \u1c90-\u1cba \u1cbd-\u1cbf \u1d00-\u1d2b \u1d6b-\u1d77 \u1d79-\u1d9a \u1e00-\u1f15 \u1f18-\u1f1d \u1f20-\u1f45 " +
	"\u1f48-\u1f4d \u1f50-\u1f57 \u1f59 \u1f5b \u1f5d \u1f5f-\u1f7d \u1f80-\u1fb4 \u1fb6-\u1fbc \u1fbe \u1fc2-\u1fc4 \u1fc6-\u1fcc " +
	"\u1fd0-\u1fd3 \u1fd6-\u1fdb \u1fe0-\u1fec \u1ff2-\u1ff4 \u1ff6-\u1ffc \u2102 \u2107 \u210a-\u2113 \u2115 \u2119-\u211d \u2124 " +
	"\u2126 \u2128 \u212a-\u212d \u212f-\u2134 \u2139 \u213c-\u213f \u2145-\u2149 \u214e \u2183 \u2184 \u2c00-\u2c7b \u2c7e-\u2ce4 " +
	"\u2ceb-\u2cee \u2cf2 \u2cf3 \ua640-\ua66d \ua680-\ua69b \ua722-\ua76f \ua771-\ua787 \ua78b-\ua78e \uab70-\uabbf \ufb00-\ufb06 " +
	"\ufb13-\ufb17 \uff21-\uff3a \uff41-\uff5a \U00010400-\U0001044f \U000104b0-\U000104d3 \U000104d8-\U000104fb " +
	"\U00010c80-\U00010cb2 \U00010cc0-\U00010cf2 \U000118a0-\U000118df \U0001e900-\U0001e943")

// ranges reads "a-b c".
func ranges(list string) (out [][2]rune) {
	for _, f := range strings.Fields(list) {
		r := []rune(f)
		out = append(out, [2]rune{r[0], r[len(r)-1]})
	}
	return out
}

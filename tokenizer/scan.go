package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// run returns the end of the longest run of a class at i, of at most limit characters (0: any).
func run(s string, i int, class func(rune) bool, limit int) int {
	for n := 0; i < len(s) && (limit == 0 || n < limit); n++ {
		r, size := decode(s[i:])
		if !class(r) {
			break
		}
		i += size
	}
	return i
}

// after skips one character of a class at i.
func after(s string, i int, class func(rune) bool) int { return run(s, i, class, 1) }

// contraction matches 's 't 're 've 'm 'll 'd at i; fold: in any case of ASCII.
func contraction(s string, i int, fold bool) int {
	if i+1 >= len(s) || s[i] != '\'' {
		return i
	}
	low := func(j int) byte {
		if j >= len(s) {
			return 0
		}
		if c := s[j]; fold && c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return s[j]
	}
	switch a, b := low(i+1), low(i+2); {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return i + 2
	case (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'):
		return i + 3
	}
	return i
}

// blanks matches \s+(?!\S)|\s+ at i: a run of white space, its last character left to the word
// that follows.
func blanks(s string, i int) int {
	end := run(s, i, space, 0)
	if end == len(s) || end == i {
		return end
	}
	_, size := utf8.DecodeLastRuneInString(s[i:end])
	if end-size > i {
		return end - size
	}
	return end
}

// spaces matches \s*[\r\n]+|\s+(?!\S)|\s+ at i.
func spaces(s string, i int) int {
	if end := lineEnd(s, i); end > i {
		return end
	}
	return blanks(s, i)
}

// lineEnd matches \s*[\r\n]+ at i.
func lineEnd(s string, i int) int {
	end := run(s, i, space, 0)
	if nl := strings.LastIndexAny(s[i:end], "\r\n"); nl >= 0 {
		return i + nl + 1
	}
	return i
}

// signs matches ` ?[^\s\p{L}\p{N}]+` at i, for the class given instead.
func signs(s string, i int, class func(rune) bool) int {
	from := i
	if s[i] == ' ' {
		from++
	}
	if end := run(s, from, class, 0); end > from {
		return end
	}
	return i
}

// gpt2 is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2(s string, i int) int {
	if end := contraction(s, i, false); end > i {
		return end
	}
	from := i
	if s[i] == ' ' {
		from++
	}
	for _, class := range []func(rune) bool{letter, number, sign} {
		if end := run(s, from, class, 0); end > from {
			return end
		}
	}
	return blanks(s, i)
}

// tiktoken is the expression of GPT-4 and those after it, with its variants:
//
//	(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
//	 ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
type tiktoken struct {
	digits         int  // 0: any number
	marks          bool // [\p{L}\p{M}]+ for letters, and no marks among the signs
	cascade        bool // white space is left to cascade
	noNewlines     bool //  ?[^\s\p{L}\p{N}\r\n]+ without the line ends after it
	noContractions bool
	phrases        bool // (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ for letters, [\r\n/]? after signs
}

func (v tiktoken) scan(s string, i int) int {
	if !v.noContractions {
		if end := contraction(s, i, true); end > i {
			return end
		}
	}
	if end := v.word(s, i); end > i {
		return end
	}
	if end := run(s, i, number, v.digits); end > i {
		return end
	}
	class := sign
	if v.marks {
		class = func(r rune) bool { return sign(r) && !mark(r) }
	}
	if end := signs(s, i, class); end > i {
		switch {
		case v.noNewlines:
			return end
		case v.phrases:
			return after(s, end, func(r rune) bool { return newline(r) || r == '/' })
		}
		return run(s, end, newline, 0)
	}
	if v.cascade {
		return i
	}
	return spaces(s, i)
}

// word is [^\r\n\p{L}\p{N}]?\p{L}+
func (v tiktoken) word(s string, i int) int {
	r, size := decode(s[i:])
	from := i
	if !newline(r) && !letter(r) && !number(r) {
		from += size
	}
	class := letter
	if v.marks {
		class = marked
	}
	end := run(s, from, class, 0)
	switch {
	case end > from && v.phrases:
		return phrase(s, from)
	case end > from:
		return end
	}
	return run(s, i, class, 0) // a mark may have been taken for the character before
}

// phrase continues \p{L} with more letters, marks, and single spaces that a letter follows.
func phrase(s string, i int) int {
	for {
		i = run(s, i, marked, 0)
		if i >= len(s) || s[i] != ' ' || after(s, i+1, letter) == i+1 {
			return i
		}
		i++
	}
}

// jais is the stage of tiktoken with cascade for white space.
func jais(s string, emit func(string)) {
	words, clear := tiktoken{digits: 3, cascade: true}.scan, 0
	each(func(s string, i int) int {
		if end := words(s, i); end > i {
			return end
		}
		if i >= clear { // look for line ends once in each run of white space
			if end := lineEnd(s, i); end > i {
				return end
			}
			clear = run(s, i, space, 0)
		}
		return cascade(s, i)
	})(s, emit)
}

// cascade is \s{512}(?!\S)|\s{256}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}
func cascade(s string, i int) int {
	var ends []int
	for j := i; len(ends) <= 512; {
		end := after(s, j, space)
		if end == j {
			break
		}
		ends, j = append(ends, end), end
	}
	if len(ends) == 0 {
		return i
	}
	most := len(ends) // how many may be taken with no \S after them
	if ends[most-1] < len(s) {
		most--
	}
	for _, n := range []int{512, 256, 128, 64, 32, 16, 8, 4, 2} {
		if n <= most {
			return ends[n-1]
		}
	}
	return ends[0]
}

// kimi is [\p{Han}]+|[^\r\n\p{L}\p{N}]?[letters but Han]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ as llama.cpp's own code reads it
func kimi(s string, i int) int {
	if end := run(s, i, han, 0); end > i {
		return end
	}
	western := func(r rune) bool { return letter(r) && !han(r) }
	from := after(s, i, func(r rune) bool { return !newline(r) && !letter(r) && !number(r) })
	if end := run(s, from, western, 0); end > from {
		return contraction(s, end, true)
	}
	if end := run(s, i, number, 3); end > i {
		return end
	}
	if end := signs(s, i, sign); end > i {
		return run(s, end, newline, 0)
	}
	return spaces(s, i)
}

package privacy

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rule knows one form of personal data.
type rule struct {
	kind Kind
	name string
	re   *regexp.Regexp
	// gate is a cheap look whether the text can match at all; nil: it may.
	gate func(text string) bool
	// check judges a match; nil: all count. name tells the form when it differs from the rule's.
	check func(match string) bool
	// beside are words one of which must stand near the match; empty: none need to.
	beside []string
	// loose matches may touch letters; others stand apart from letters and digits.
	loose bool
	// group is the part of the match that is the data.
	group int
	// longer says which bytes after a match, whose length the expression bounds, still belong to it.
	longer func(byte) bool
	// split takes a match apart instead, into the pieces that count.
	split func(match string) [][2]int
}

// Words within so many bytes before and after a match count as beside it.
const (
	bytesBefore = 60
	bytesAfter  = 24
)

func (r *rule) find(text string, out []Finding) []Finding {
	if r.gate != nil && !r.gate(text) {
		return out
	}
	for from := 0; from < len(text); {
		m := r.re.FindStringSubmatchIndex(text[from:])
		if m == nil {
			break
		}
		start, end := from+m[2*r.group], from+m[2*r.group+1]
		whole, next := from+m[0], from+m[1]
		if next == whole {
			next++
		}
		from = next
		if text[start] == '(' && !strings.Contains(text[start:end], ")") { // it opens something else
			start++
		}
		switch {
		case r.split != nil:
			for _, p := range r.split(text[start:end]) {
				if apart(text, start+p[0], start+p[1]) {
					out = append(out, Finding{r.kind, r.name, start + p[0], start + p[1]})
				}
			}
			continue
		case !r.loose && !apart(text, start, end),
			len(r.beside) > 0 && !near(text, whole, end, r.beside),
			r.check != nil && !r.check(text[start:end]):
			from = nextWord(text, start, from)
			continue
		}
		for r.longer != nil && end < len(text) && r.longer(text[end]) {
			end++
		}
		from = max(from, end)
		out = append(out, Finding{r.kind, r.name, start, end})
	}
	return out
}

// nextWord is where, before end, the next group of digits or letters begins: a match that was refused may
// hide another.
func nextWord(text string, start, end int) int {
	i := start
	for i < end && alnum(text[i]) {
		i++
	}
	for i < end && !alnum(text[i]) {
		i++
	}
	return max(i, start+1)
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// apart says that neither a Latin letter nor a digit touches the part, nor a sign that makes it a piece of a
// longer number.
func apart(text string, start, end int) bool {
	if before, _ := utf8.DecodeLastRuneInString(text[:start]); start > 0 {
		if latin(before) || before == '_' {
			return false
		}
		if strings.ContainsRune(".-", before) && start > 1 && digit(text[start-2]) && digit(text[start]) {
			return false
		}
	}
	after, _ := utf8.DecodeRuneInString(text[end:])
	if end < len(text) {
		if latin(after) || after == '_' {
			return false
		}
		if strings.ContainsRune(".-", after) && end+1 < len(text) && digit(text[end+1]) && digit(text[end-1]) {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func latin(r rune) bool {
	return r >= '0' && r <= '9' || unicode.Is(unicode.Latin, r)
}

// near says whether one of the words stands beside the part. Words of Latin letters stand alone; the
// words are in lower case.
func near(text string, start, end int, words []string) bool {
	from, to := max(0, start-bytesBefore), min(len(text), end+bytesAfter)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	// A line further up or a sentence further on belongs to something else.
	before, after := strings.ToLower(text[from:start]), strings.ToLower(text[end:to])
	if i := strings.LastIndex(before, "\n\n"); i >= 0 {
		before = before[i+2:]
	}
	if i := strings.IndexAny(after, "\n"); i >= 0 {
		after = after[:i]
	}
	for _, w := range words {
		if hasWord(before, w) || hasWord(after, w) {
			return true
		}
	}
	return false
}

func hasWord(text, word string) bool {
	for i := 0; ; {
		k := strings.Index(text[i:], word)
		if k < 0 {
			return false
		}
		i += k
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(word):])
		first, _ := utf8.DecodeRuneInString(word)
		if !latin(first) || (!latinLetter(before) && !latinLetter(after)) {
			return true
		}
		i += len(word)
	}
}

func latinLetter(r rune) bool { return r != utf8.RuneError && unicode.Is(unicode.Latin, r) }

// anyDigits gates rules of at least n digits.
func anyDigits(n int) func(string) bool {
	return func(text string) bool {
		seen := 0
		for i := range len(text) {
			if digit(text[i]) {
				if seen++; seen >= n {
					return true
				}
			}
		}
		return false
	}
}

// holding gates rules by the pieces of which one must be there.
func holding(pieces ...string) func(string) bool {
	return func(text string) bool {
		for _, p := range pieces {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
}

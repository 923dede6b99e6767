package privacy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// names are those of the list by their first character, the longest first, in lower case.
type names map[rune][]string

func newNames(list []string) (names, error) {
	if len(list) > MaxNames {
		return nil, fmt.Errorf("%w: %d names, at most %d are taken", ErrConfig, len(list), MaxNames)
	}
	n := names{}
	for _, s := range list {
		s = strings.ToLower(strings.Join(strings.Fields(normalise(s).text), " "))
		if c := utf8.RuneCountInString(s); c < 2 || c > 100 || !utf8.ValidString(s) {
			return nil, fmt.Errorf("%w: name %q: give 2 to 100 characters", ErrConfig, s)
		}
		r, _ := utf8.DecodeRuneInString(s)
		n[r] = append(n[r], s)
	}
	for r := range n {
		slices.SortFunc(n[r], func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	}
	return n, nil
}

// find looks at each place where a name may begin: anywhere before a character that is written without
// spaces, else where a word begins. Spaces and case may differ.
func (n names) find(text string, out []Finding) []Finding {
	if len(n) == 0 {
		return out
	}
	before := ' '
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if list := n[unicode.ToLower(r)]; list != nil && (unspaced(r) || !wordRune(before)) {
			if end := longestName(text, i, list); end > 0 {
				out = append(out, Finding{Name, "list", i, end})
				before, _ = utf8.DecodeLastRuneInString(text[i:end])
				i = end
				continue
			}
		}
		before, i = r, i+size
	}
	return out
}

func longestName(text string, start int, list []string) int {
	for _, name := range list {
		end, ok := follows(text, start, name)
		if !ok {
			continue
		}
		last, _ := utf8.DecodeLastRuneInString(name)
		after, _ := utf8.DecodeRuneInString(text[end:])
		if unspaced(last) || end == len(text) || !wordRune(after) {
			return end
		}
	}
	return 0
}

// follows says where a name that stands at start ends.
func follows(text string, start int, name string) (end int, ok bool) {
	i := start
	for _, want := range name {
		if want == ' ' {
			k := i
			for k < len(text) && (text[k] == ' ' || text[k] == '\t' || text[k] == '\n') {
				k++
			}
			if k == i {
				return 0, false
			}
			i = k
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if size == 0 || unicode.ToLower(r) != want {
			return 0, false
		}
		i += size
	}
	return i, true
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// unspaced scripts write words without spaces between them.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

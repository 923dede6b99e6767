package privacy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// names are those of the list in lower case, a character a step, so that a place in a text costs no more
// for a long list than for a short one.
type names struct {
	next map[rune]*names
	ends bool // a name does here
}

func newNames(list []string) (*names, error) {
	if len(list) > MaxNames {
		return nil, fmt.Errorf("%w: %d names, at most %d are taken", ErrConfig, len(list), MaxNames)
	}
	n := &names{}
	for _, s := range list {
		s = strings.ToLower(strings.Join(strings.Fields(normalise(s).text), " "))
		if c := utf8.RuneCountInString(s); c < 2 || c > 100 || !utf8.ValidString(s) {
			return nil, fmt.Errorf("%w: name %q: give 2 to 100 characters", ErrConfig, s)
		}
		n.add(s)
	}
	return n, nil
}

func (n *names) add(name string) {
	for _, r := range name {
		if n.next == nil {
			n.next = map[rune]*names{}
		}
		if n.next[r] == nil {
			n.next[r] = &names{}
		}
		n = n.next[r]
	}
	n.ends = true
}

// find looks at each place where a name may begin: anywhere before a character that is written without
// spaces, else where a word begins. Spaces and case may differ.
func (n *names) find(text string, out []Finding) []Finding {
	if n == nil || len(n.next) == 0 {
		return out
	}
	before := ' '
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if n.next[unicode.ToLower(r)] != nil && (unspaced(r) || !wordRune(before)) {
			if end := n.longest(text, i); end > 0 {
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

// longest says where the longest name that stands at start ends; 0: there is none.
func (n *names) longest(text string, start int) (end int) {
	for i := start; ; {
		r, size := utf8.DecodeRuneInString(text[i:])
		if n.ends {
			last, _ := utf8.DecodeLastRuneInString(text[:i])
			if unspaced(last) || size == 0 || !wordRune(r) {
				end = i
			}
		}
		if size == 0 {
			return end
		}
		if next := n.next[' ']; next != nil && space(text[i]) {
			for i < len(text) && space(text[i]) {
				i++
			}
			n = next
			continue
		}
		if n = n.next[unicode.ToLower(r)]; n == nil {
			return end
		}
		i += size
	}
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// unspaced scripts write words without spaces between them.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

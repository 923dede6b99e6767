package privacy

import (
	"strings"
	"unicode/utf8"
)

// normal is a text in which full-width forms are narrow and invisible characters gone, and where each of
// its bytes was in the original; nil: where it is now.
type normal struct {
	text string
	at   []int32
}

// normalise narrows full-width letters, digits and signs (U+FF01 to U+FF5E), as Chinese input methods write
// them, unusual spaces and dashes, and takes out zero-width characters.
func normalise(text string) normal {
	if !strings.ContainsFunc(text, func(r rune) bool { n, ok := narrow(r); return ok && n != r }) {
		return normal{text: text}
	}
	var b strings.Builder
	at := make([]int32, 0, len(text)+1)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		n, ok := narrow(r)
		switch {
		case !ok: // gone
		case n == r:
			for k := range size {
				at = append(at, int32(i+k)) //nolint:gosec // a prompt has a few MiB at most
			}
			b.WriteString(text[i : i+size])
		default:
			at = append(at, int32(i)) //nolint:gosec // as above
			b.WriteByte(byte(n))
		}
		i += size
	}
	return normal{b.String(), append(at, int32(len(text)))} //nolint:gosec // as above
}

// narrow gives the ASCII form of a character that has one, the character itself when not, and false when
// it is invisible.
func narrow(r rune) (rune, bool) {
	switch {
	case r < 0x80:
		return r, true
	case r >= 0xFF01 && r <= 0xFF5E:
		return r - 0xFEE0, true
	case r == 0x3000 || r == 0xA0 || (r >= 0x2000 && r <= 0x200A) || r == 0x202F:
		return ' ', true
	case r >= 0x2010 && r <= 0x2015 || r == 0x2212:
		return '-', true
	case r >= 0x200B && r <= 0x200D, r == 0x2060, r == 0xFEFF, r == 0xAD:
		return r, false
	}
	return r, true
}

func (n normal) original(i int) int {
	if n.at == nil {
		return i
	}
	return int(n.at[i])
}

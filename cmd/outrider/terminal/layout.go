package terminal

import (
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/rivo/uniseg"
)

// kind says how a piece of text is shown.
type kind uint8

const (
	plain kind = iota
	accepted
	corrected
	own // the target's: bonus or run ahead
	unverified
	pending
	faint
	alarm
	question
)

// piece is text of one kind.
type piece struct {
	text string
	kind kind
}

// line is a line on the screen; end is the length of the text up to its end.
type line struct {
	pieces []piece
	end    int
}

// Clean takes out what could steer the terminal: models and files write text, not control sequences.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == '\ufeff':
			return -1
		}
		return r
	}, s)
}

type cluster struct {
	text  string
	width int
	kind  kind
	end   int
}

// wrap breaks text into lines, at spaces where there are any.
func wrap(pieces []piece, width int) []line {
	width = max(1, width)
	var lines []line
	var row []cluster
	used, space, at := 0, -1, 0 // cells, index after the row's last space, bytes
	cut := func(n int) {
		end := at
		if n > 0 {
			end = row[n-1].end
		}
		lines = append(lines, line{group(row[:n]), end})
		row = append([]cluster{}, row[n:]...)
		used, space = 0, -1
		for i, c := range row {
			used += c.width
			if c.text == " " {
				space = i + 1
			}
		}
	}
	for _, p := range pieces {
		rest, state := p.text, -1
		for rest != "" {
			var text string
			var w int
			text, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
			at += len(text)
			if text == "\n" {
				cut(len(row))
				lines[len(lines)-1].end = at
				continue
			}
			if used+w > width && len(row) > 0 && text != " " {
				n := len(row)
				if space > 0 {
					n = space
				}
				cut(n)
			}
			row = append(row, cluster{text, w, p.kind, at})
			if used += w; text == " " {
				space = len(row)
			}
		}
	}
	return append(lines, line{group(row), at})
}

// group puts clusters of one kind together; spaces at the end are not shown.
func group(row []cluster) []piece {
	for len(row) > 0 && row[len(row)-1].text == " " {
		row = row[:len(row)-1]
	}
	var out []piece
	for _, c := range row {
		if n := len(out); n > 0 && out[n-1].kind == c.kind {
			out[n-1].text += c.text
			continue
		}
		out = append(out, piece{c.text, c.kind})
	}
	return out
}

// theme gives each kind its style. Colours are the terminal's own; without colours (NO_COLOR) the
// attributes still tell kinds apart.
type theme [question + 1]lipgloss.Style

func newTheme() theme {
	s, c := lipgloss.NewStyle(), func(n string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(n)) }
	return theme{plain: s, accepted: c("2"), corrected: c("3").Underline(true), own: c("6"), unverified: c("5").Italic(true),
		pending: c("8").Faint(true), faint: s.Faint(true), alarm: c("1").Bold(true), question: s.Bold(true)}
}

// render shows a line; without fates answers are plain.
func (t *theme) render(l line, fates bool) string {
	var b strings.Builder
	for _, p := range l.pieces {
		k := p.kind
		if !fates && k >= accepted && k <= own {
			k = plain
		}
		if k == plain {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(t[k].Render(p.text))
	}
	return b.String()
}

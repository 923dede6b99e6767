package chat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// jsonStyle is how Python's json.dumps writes.
type jsonStyle struct {
	indent     string // per level; with lines
	lines      bool
	ascii      bool
	sort       bool
	item, pair string // separators
}

// dump writes a template value as Python's json.dumps does: in order, without escaping HTML.
func (j jsonStyle) dump(b *strings.Builder, v *exec.Value, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("tojson: nested deeper than %d", maxNesting)
	}
	switch {
	case v.IsNil():
		b.WriteString("null")
	case v.IsError():
		return fmt.Errorf("tojson: %s", v.Error())
	case v.IsBool():
		b.WriteString(strconv.FormatBool(v.Bool()))
	case v.IsInteger():
		b.WriteString(strconv.Itoa(v.Integer()))
	case v.IsFloat():
		b.WriteString(pythonFloat(v.Float()))
	case v.IsString():
		j.quote(b, v.String())
	case v.IsDict():
		return j.mapping(b, v, depth)
	case v.IsList():
		return j.sequence(b, v, depth)
	default:
		return fmt.Errorf("tojson: no JSON for %T", v.Interface())
	}
	return nil
}

func (j jsonStyle) mapping(b *strings.Builder, v *exec.Value, depth int) error {
	entries := pairs(v)
	if j.sort {
		entries = sortedPairs(entries)
	}
	return j.group(b, "{}", len(entries), depth, func(i int) error {
		j.quote(b, entries[i].Key.String())
		b.WriteString(j.pair)
		return j.dump(b, exec.ToValue(entries[i].Value), depth+1)
	})
}

func (j jsonStyle) sequence(b *strings.Builder, v *exec.Value, depth int) error {
	elements := items(v)
	return j.group(b, "[]", len(elements), depth, func(i int) error { return j.dump(b, exec.ToValue(elements[i]), depth+1) })
}

func (j jsonStyle) group(b *strings.Builder, brackets string, n, depth int, each func(int) error) error {
	line := func(level int) {
		if j.lines && n > 0 {
			b.WriteString("\n" + strings.Repeat(j.indent, level))
		}
	}
	b.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			b.WriteString(j.item)
		}
		line(depth + 1)
		if err := each(i); err != nil {
			return err
		}
	}
	line(depth)
	b.WriteByte(brackets[1])
	return nil
}

func (j jsonStyle) quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < ' ' || (j.ascii && r == 0x7F):
			fmt.Fprintf(b, `\u%04x`, r)
		case j.ascii && r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		case j.ascii && r >= utf8.RuneSelf:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// pythonFloat is repr(float).
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

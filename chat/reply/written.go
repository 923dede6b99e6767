package reply

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// tagged reads <function=name><parameter=key>value</parameter>…</function>, at its end.
func (r *Reader) tagged(final bool) bool {
	const end = "</function>"
	at := strings.Index(r.buf, end)
	if at < 0 {
		if final {
			r.pass(len(r.buf))
		}
		return r.starve(final)
	}
	name, rest, ok := strings.Cut(strings.TrimPrefix(r.buf[:at], "<function="), ">")
	var members []string
	for ok && strings.TrimSpace(rest) != "" {
		var key, value string
		if _, rest, ok = strings.Cut(rest, "<parameter="); !ok {
			break
		}
		if key, rest, ok = strings.Cut(rest, ">"); !ok {
			break
		}
		if value, rest, ok = strings.Cut(rest, "</parameter>"); ok {
			members = append(members, quote(key)+": "+r.plainValue(name, key, value))
		}
	}
	if !ok || !plainName(name) {
		r.pass(at)
		return r.fail()
	}
	r.take(at + len(end))
	r.give(Call, name)
	r.give(Arguments, "{"+strings.Join(members, ", ")+"}")
	r.where = (*Reader).closing
	return true
}

// plainValue is the JSON of a value that stands without quotes: a text where the function takes a text,
// else what it reads as.
func (r *Reader) plainValue(name, key, value string) string {
	value = strings.TrimSuffix(strings.TrimPrefix(value, "\n"), "\n")
	for _, t := range r.tools {
		if t.Name == name && slices.Contains(t.Texts, key) {
			return quote(value)
		}
	}
	if json.Valid([]byte(value)) {
		return strings.TrimSpace(value)
	}
	switch strings.TrimSpace(value) {
	case "True":
		return "true"
	case "False":
		return "false"
	case "None":
		return "null"
	}
	return quote(value)
}

// quote writes a JSON string.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string never fails
	return strings.TrimSpace(b.String())
}

// gemma reads call:name{key:<|"|>text<|"|>,…}, at its end.
func (r *Reader) gemma(final bool) bool {
	const end = "<tool_call|>"
	at := strings.Index(r.buf, end)
	if at < 0 {
		if !final {
			return false
		}
		at = len(r.buf)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(r.buf[:at]), "call:"), "{")
	brace := strings.IndexByte(r.buf[:at], '{')
	if brace >= 0 && plainName(name) {
		if args, rest, ok := gemmaValue(r.buf[brace:at], 0); ok && strings.TrimSpace(rest) == "" {
			r.take(at)
			r.give(Call, name)
			r.give(Arguments, args)
			r.where = (*Reader).closing
			return true
		}
	}
	r.pass(at)
	return r.fail()
}

// gemmaQuote stands around texts in Gemma's values.
const gemmaQuote = `<|"|>`

// gemmaValue turns one of Gemma's values into JSON and returns what follows it.
func gemmaValue(s string, depth int) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, space)
	switch {
	case depth > 64 || s == "":
		return "", s, false
	case strings.HasPrefix(s, gemmaQuote):
		text, rest, ok := strings.Cut(s[len(gemmaQuote):], gemmaQuote)
		return quote(text), rest, ok
	case s[0] == '"':
		var v valueState
		n := v.feed(s)
		return s[:n], s[n:], v.done && json.Valid([]byte(s[:n]))
	case s[0] == '{':
		return gemmaMembers(s[1:], '}', depth)
	case s[0] == '[':
		return gemmaMembers(s[1:], ']', depth)
	}
	n := strings.IndexAny(s, ",}] \n")
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:], json.Valid([]byte(s[:n]))
}

// gemmaMembers reads the members of an object or an array up to its end.
func gemmaMembers(s string, end byte, depth int) (value, rest string, ok bool) {
	var members []string
	for {
		s = strings.TrimLeft(s, space+",")
		if s == "" {
			return "", s, false
		}
		if s[0] == end {
			both := map[byte]string{'}': "{}", ']': "[]"}[end]
			return both[:1] + strings.Join(members, ", ") + both[1:], s[1:], true
		}
		key := ""
		if end == '}' {
			n := strings.IndexByte(s, ':')
			if n < 0 {
				return "", s, false
			}
			key = quote(strings.Trim(strings.ReplaceAll(s[:n], gemmaQuote, ""), ` "`)) + ": "
			s = s[n+1:]
		}
		v, rest, ok := gemmaValue(s, depth+1)
		if !ok {
			return "", s, false
		}
		members, s = append(members, key+v), rest
	}
}

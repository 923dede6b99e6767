package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// object reads a JSON object field by field. Fields that nobody asks for are ignored. The first error
// stays, with the path of its field; what follows reads zero values.
type object struct {
	path string // with its dot, empty for the body itself
	m    map[string]json.RawMessage
	err  **apiError // of the whole body
	see  *perceiver // of the whole body; nil: texts only
}

// parseBody begins with the body of a request.
func parseBody(body []byte) (*object, *apiError) {
	if !utf8.Valid(body) {
		return nil, invalid("", "invalid_json", "the body is not valid UTF-8: convert it first")
	}
	var m map[string]json.RawMessage
	var kind *json.UnmarshalTypeError
	if err := json.Unmarshal(body, &m); errors.As(err, &kind) {
		return nil, invalid("", "invalid_json", "the body is %s: send a JSON object", kindOf(body))
	} else if err != nil {
		return nil, invalid("", "invalid_json", "the body is not a JSON object: %s", err)
	}
	if m == nil {
		return nil, invalid("", "invalid_json", "the body is null: send a JSON object")
	}
	return &object{m: m, err: new(*apiError)}, nil
}

func (o *object) fail(name, code, format string, a ...any) {
	if *o.err == nil {
		*o.err = invalid(o.path+name, code, format, a...)
	}
}

// wrong notes that a field has another type than it must have.
func (o *object) wrong(name, want string) {
	o.fail(name, "invalid_type", "invalid type for '%s%s': expected %s, got %s", o.path, name, want, kindOf(o.m[name]))
}

// has says whether a field is there and not null.
func (o *object) has(name string) bool {
	raw, ok := o.m[name]
	return ok && !isNull(raw)
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// kindOf names the type of a JSON value as OpenAI's messages do.
func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// text reads a string; missing and null are "".
func (o *object) text(name string) string {
	var s string
	if o.has(name) && json.Unmarshal(o.m[name], &s) != nil {
		o.wrong(name, "a string")
	}
	return s
}

// must reads a string that has to be there and hold something.
func (o *object) must(name string) string {
	if !o.has(name) {
		o.fail(name, "missing_required_parameter", "missing required parameter: '%s%s'", o.path, name)
	}
	s := o.text(name)
	if s == "" {
		o.fail(name, "invalid_value", "'%s%s' is empty", o.path, name)
	}
	return s
}

func (o *object) flag(name string, def bool) bool {
	if o.has(name) && json.Unmarshal(o.m[name], &def) != nil {
		o.wrong(name, "a boolean")
	}
	return def
}

// number reads a number from lo to hi.
func (o *object) number(name string, def, lo, hi float64) float64 {
	if !o.has(name) {
		return def
	}
	var v float64
	if json.Unmarshal(o.m[name], &v) != nil {
		o.wrong(name, "a number")
		return def
	}
	if math.IsNaN(v) || v < lo || v > hi {
		o.fail(name, "invalid_value", "'%s%s' is %g, must be between %g and %g", o.path, name, v, lo, hi)
		return def
	}
	return v
}

// whole reads a whole number from lo to hi; 5.0 is one.
func (o *object) whole(name string, def, lo, hi int64) int64 {
	if !o.has(name) {
		return def
	}
	var v int64
	if json.Unmarshal(o.m[name], &v) != nil {
		var f float64
		if json.Unmarshal(o.m[name], &f) != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
			o.wrong(name, "a whole number")
			return def
		}
		v = int64(f)
	}
	if v < lo || v > hi {
		o.fail(name, "invalid_value", "'%s%s' is %d, must be between %d and %d", o.path, name, v, lo, hi)
		return def
	}
	return v
}

// list reads an array.
func (o *object) list(name string, most int) []json.RawMessage {
	if !o.has(name) {
		return nil
	}
	var l []json.RawMessage
	if json.Unmarshal(o.m[name], &l) != nil {
		o.wrong(name, "an array")
	}
	if len(l) > most {
		o.fail(name, "array_above_max_length", "'%s%s' has %d elements, at most %d are allowed", o.path, name, len(l), most)
		return nil
	}
	return l
}

// sub reads an object; a missing one is empty.
func (o *object) sub(name string) *object {
	if !o.has(name) {
		return &object{path: o.path + name + ".", err: o.err, see: o.see}
	}
	return o.element(name, o.m[name])
}

// only refuses fields with other names.
func (o *object) only(names ...string) {
	for _, name := range slices.Sorted(maps.Keys(o.m)) {
		if !slices.Contains(names, name) {
			o.fail(name, "unknown_parameter", "'%s%.50s' is unknown: use some of %s", o.path, name, strings.Join(names, ", "))
		}
	}
}

// element reads an object that stands in a list.
func (o *object) element(name string, raw json.RawMessage) *object {
	e := &object{path: o.path + name + ".", err: o.err, see: o.see}
	if json.Unmarshal(raw, &e.m) != nil || e.m == nil {
		o.fail(name, "invalid_type", "invalid type for '%s%s': expected an object, got %s", o.path, name, kindOf(raw))
	}
	return e
}

// at names an element of a list.
func at(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i) }

// texts reads a string or an array of strings.
func (o *object) texts(name string, most int) []string {
	if !o.has(name) {
		return nil
	}
	var s string
	if json.Unmarshal(o.m[name], &s) == nil {
		return []string{s}
	}
	if kindOf(o.m[name]) != "an array" {
		o.wrong(name, "a string or an array of strings")
		return nil
	}
	var out []string
	for i, raw := range o.list(name, most) {
		if json.Unmarshal(raw, &s) != nil || isNull(raw) {
			o.fail(at(name, i), "invalid_type", "invalid type for '%s%s': expected a string, got %s", o.path, at(name, i), kindOf(raw))
			return nil
		}
		out = append(out, s)
	}
	return out
}

package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// list is a sequence in a template. Unlike gonja's own it takes every negative index.
type list []any

// GetItem implements exec.ItemGetter.
func (l list) GetItem(key any) (*exec.Value, bool) {
	i, ok := key.(int)
	if i < 0 {
		i += len(l)
	}
	if !ok || i < 0 || i >= len(l) {
		return exec.AsValue(nil), false
	}
	return exec.ToValue(l[i]), true
}

// field is an entry of an object, in order.
type field struct {
	key   string
	value any
}

// object makes a mapping that keeps its order. An empty one is a plain map, which is false in conditions.
func object(fields ...field) any {
	if len(fields) == 0 {
		return map[string]any{}
	}
	d := exec.NewDict()
	for _, f := range fields {
		d.Pairs = append(d.Pairs, &exec.Pair{Key: exec.AsValue(f.key), Value: exec.AsValue(f.value)})
	}
	return d
}

// readJSON turns JSON into template values. Strings pass through text, with the key they stand under.
func readJSON(raw []byte, text func(key, s string) string) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	r := jsonReader{d, text}
	v, err := r.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

type jsonReader struct {
	d    *json.Decoder
	text func(key, s string) string
}

const maxNesting = 64

func (r jsonReader) value(key string, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	}
	t, err := r.d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return r.array(key, depth)
		}
		return r.object(depth)
	case json.Number:
		if i, err := strconv.Atoi(t.String()); err == nil {
			return i, nil
		}
		return t.Float64()
	case string:
		return r.text(key, t), nil
	}
	return t, nil
}

func (r jsonReader) array(key string, depth int) (any, error) {
	out := list{}
	for r.d.More() {
		v, err := r.value(key, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := r.d.Token()
	return out, err
}

func (r jsonReader) object(depth int) (any, error) {
	var fields []field
	for r.d.More() {
		k, err := r.d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := k.(string)
		v, err := r.value(key, depth+1)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{r.text(keyOf, key), v})
	}
	_, err := r.d.Token()
	return object(fields...), err
}

// pairs lists a mapping's entries in order.
func pairs(v *exec.Value) []*exec.Pair {
	switch d := v.Interface().(type) {
	case *exec.Dict:
		return d.Pairs
	case exec.Dict:
		return d.Pairs
	}
	var out []*exec.Pair
	v.Iterate(func(_, _ int, key, value *exec.Value) bool {
		out = append(out, &exec.Pair{Key: key, Value: value})
		return true
	}, func() {})
	return out
}

// items lists a sequence's elements, a mapping's keys, or a string's characters.
func items(v *exec.Value) []*exec.Value {
	var out []*exec.Value
	v.Iterate(func(_, _ int, key, _ *exec.Value) bool {
		out = append(out, key)
		return true
	}, func() {})
	return out
}

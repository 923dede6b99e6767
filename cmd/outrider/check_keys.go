package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyChecker walks a configuration file beside the types that it is read into.
type keyChecker struct {
	file  string
	lines map[string]int
	errs  []error
}

// checkKeys finds keys that mean nothing, and returns the line of each key. Errors name file and line.
func checkKeys(file string, text []byte) (map[string]int, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, yamlError(file, err)
	}
	w := &keyChecker{file: file, lines: map[string]int{}}
	if len(doc.Content) > 0 {
		w.walk(doc.Content[0], reflect.TypeFor[Config](), "")
	}
	if len(w.errs) > 0 {
		return nil, usageError{errors.Join(w.errs...)}
	}
	return w.lines, nil
}

// yamlError turns "yaml: line 3: ..." into FILE:3.
func yamlError(file string, err error) error {
	line, text := 0, strings.TrimPrefix(oneLine(err), "yaml: ")
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
		return usagef("%s:%d: not valid YAML: %s", file, line, text)
	}
	return usagef("%s: not valid YAML: %s", file, text)
}

func (w *keyChecker) walk(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if w.lines[key] == 0 && key != "" {
		w.lines[key] = n.Line
	}
	switch t.Kind() {
	case reflect.Struct:
		if n.Kind == yaml.MappingNode {
			w.fields(n, t, key)
		} else if t != reflect.TypeFor[ModelConfig]() && n.Tag != "!!null" {
			w.fail(n, "%s must hold settings, one per line below it: it holds %q", orFile(key), n.Value)
		}
	case reflect.Slice:
		for i, e := range n.Content {
			w.walk(e, t.Elem(), fmt.Sprintf("%s[%d]", key, i))
		}
	case reflect.Map:
		for i := 0; i+1 < len(n.Content); i += 2 {
			w.walk(n.Content[i+1], t.Elem(), fmt.Sprintf("%s[%s]", key, n.Content[i].Value))
		}
	}
}

func orFile(key string) string {
	if key == "" {
		return "the file"
	}
	return key
}

func (w *keyChecker) fail(n *yaml.Node, format string, a ...any) {
	w.errs = append(w.errs, fmt.Errorf("%s:%d: %s", w.file, n.Line, fmt.Sprintf(format, a...)))
}

// fields checks the keys of a struct.
func (w *keyChecker) fields(n *yaml.Node, t reflect.Type, key string) {
	known, names, rest := map[string]reflect.Type{}, []string{}, reflect.Type(nil)
	for i := range t.NumField() {
		f := t.Field(i)
		switch name, all := keyOf(f); {
		case all:
			rest = f.Type.Elem()
		case name != "":
			known[name], names = f.Type, append(names, name)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		full := k.Value
		if key != "" {
			full = key + "." + full
		}
		at, ok := known[k.Value]
		switch {
		case ok:
			w.lines[full] = k.Line
			w.walk(v, at, full)
		case k.Tag == "!!merge":
			w.walk(v, t, key)
		case rest != nil:
			w.lines[full] = k.Line
			w.walk(v, rest, full)
		default:
			w.fail(k, "there is no setting %s%s", full, w.hint(k.Value, key, names))
		}
	}
}

// hint names settings that a wrong key may have meant: beside it, or of the same name elsewhere.
func (w *keyChecker) hint(name, key string, beside []string) string {
	found := near(name, beside)
	for i, f := range found {
		if key != "" {
			found[i] = key + "." + f
		}
	}
	if c := defaultConfig(); len(found) == 0 {
		for _, s := range c.settings() {
			if s.key[strings.LastIndexByte(s.key, '.')+1:] == name {
				found = append(found, s.key)
			}
		}
	}
	if len(found) == 0 {
		slices.Sort(beside)
		return fmt.Sprintf(" (%s has %s)", orFile(key), strings.Join(beside, ", "))
	}
	return ": did you mean " + strings.Join(found, " or ") + "?"
}

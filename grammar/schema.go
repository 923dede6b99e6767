package grammar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// schemaDocument compiles a JSON Schema to a text of its own.
func schemaDocument(b *builder, source string) (int32, error) {
	rule, err := schemaRule(b, source)
	if err != nil {
		return 0, err
	}
	return b.document(b.call(rule, pcMatch)), nil
}

// schemaRule compiles a JSON Schema to a rule.
func schemaRule(b *builder, source string) (int32, error) {
	root, err := parseJSON(source)
	if err != nil {
		return 0, constraintError("the schema is not valid JSON: %s", err)
	}
	c := &compiler{b: b, root: root, rules: map[string]int32{}}
	start, err := c.rule([]item{{n: root}}, root.path)
	if err != nil {
		return 0, err
	}
	for len(c.queue) > 0 {
		g := c.queue[0]
		c.queue = c.queue[1:]
		targets, err := c.goal(g)
		if err == nil {
			err = b.err
		}
		if err != nil {
			return 0, err
		}
		b.fill(g.pc, inst{op: opAlt, targets: targets})
	}
	return start, nil
}

// compiler turns schemas into rules. A goal is a list of schemas that a value must fulfil all at once;
// equal goals share a rule, which is how recursion ends.
type compiler struct {
	b     *builder
	root  *node
	rules map[string]int32
	queue []goal
}

type goal struct {
	items []item
	path  string
	pc    int32
}

// item is a schema; base: without what it refers to and chooses from.
type item struct {
	n    *node
	base bool
}

// rule returns the rule of a goal.
func (c *compiler) rule(items []item, path string) (int32, error) {
	var key strings.Builder
	for _, i := range items {
		fmt.Fprintf(&key, "%d%t ", i.n.id, i.base)
	}
	if pc, ok := c.rules[key.String()]; ok {
		return pc, nil
	}
	if len(c.rules) >= maxGoals || len(items) > maxDepth {
		return 0, constraintError("the schema is too complex at %s: use fewer combinations", path)
	}
	pc := c.b.reserve()
	c.rules[key.String()] = pc
	c.b.named[pc] = path
	c.queue = append(c.queue, goal{slices.Clone(items), path, pc})
	return pc, nil
}

// goal compiles a goal to its alternatives.
func (c *compiler) goal(g goal) ([]int32, error) {
	bases, groups, possible, err := c.flatten(g.items)
	if err != nil || !possible {
		return nil, err
	}
	if len(groups) == 0 {
		return c.value(bases, g.path)
	}
	combinations := [][]item{bases}
	for _, group := range groups {
		var next [][]item
		for _, have := range combinations {
			for _, one := range group {
				next = append(next, append(slices.Clone(have), item{n: one}))
			}
		}
		if combinations = next; len(combinations) > maxChoices {
			return nil, constraintError("more than %d combinations of anyOf at %s", maxChoices, g.path)
		}
	}
	var targets []int32
	for _, items := range combinations {
		pc, err := c.rule(items, items[len(items)-1].n.path)
		if err != nil {
			return nil, err
		}
		targets = append(targets, pc)
	}
	return targets, nil
}

// flatten follows references and allOf, and lists what anyOf and oneOf let choose from.
func (c *compiler) flatten(items []item) (bases []item, groups [][]*node, possible bool, _ error) {
	seen := map[item]bool{}
	queue := slices.Clone(items)
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		if seen[i] {
			continue
		}
		if seen[i] = true; len(seen) > maxTogether {
			return nil, nil, false, constraintError("%s: more than %d schemas at once", i.n.path, maxTogether)
		}
		n := i.n
		switch n.kind {
		case 't':
			continue
		case 'f':
			return nil, nil, false, nil
		case '{':
		default:
			return nil, nil, false, constraintError("%s is no schema: write an object, true or false", n.path)
		}
		if i.base {
			bases = append(bases, i)
			continue
		}
		if err := supported(n); err != nil {
			return nil, nil, false, err
		}
		queue = append(queue, item{n, true})
		if r := n.field("$ref"); r != nil {
			to, err := c.resolve(r)
			if err != nil {
				return nil, nil, false, err
			}
			queue = append(queue, item{n: to})
		}
		for _, all := range n.field("allOf").list() {
			queue = append(queue, item{n: all})
		}
		for _, key := range []string{"anyOf", "oneOf"} {
			f := n.field(key)
			if f == nil {
				continue
			}
			if f.kind != '[' || len(f.items) == 0 {
				return nil, nil, false, constraintError("%s must be a list of schemas", f.path)
			}
			if len(f.items) > maxChoices {
				return nil, nil, false, constraintError("%s has %d alternatives, at most %d are allowed", f.path, len(f.items), maxChoices)
			}
			if key == "oneOf" {
				if err := c.exclusive(f); err != nil {
					return nil, nil, false, err
				}
			}
			groups = append(groups, f.items)
		}
	}
	return bases, groups, true, nil
}

func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// resolve follows a reference within the document.
func (c *compiler) resolve(r *node) (*node, error) {
	rest, ok := strings.CutPrefix(r.text, "#")
	if r.kind != '"' || !ok || rest != "" && rest[0] != '/' {
		return nil, constraintError("%s: only references within the schema are supported, such as #/$defs/name", r.path)
	}
	at := c.root
	for _, step := range strings.Split(rest, "/")[1:] {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		var next *node
		if i, err := strconv.Atoi(step); at.kind == '[' && err == nil && i >= 0 && i < len(at.items) {
			next = at.items[i]
		} else {
			next = at.field(step)
		}
		if next == nil {
			return nil, constraintError("%s: there is no %s", r.path, r.text)
		}
		at = next
	}
	return at, nil
}

// Types of JSON values, as bits.
const (
	typeObject = 1 << iota
	typeArray
	typeString
	typeNumber // with a fraction or exponent, or whole
	typeInteger
	typeBoolean
	typeNull
	typeAll = typeObject | typeArray | typeString | typeNumber | typeInteger | typeBoolean | typeNull
)

func typeOf(name string) int {
	switch name {
	case "object":
		return typeObject
	case "array":
		return typeArray
	case "string":
		return typeString
	case "number":
		return typeNumber | typeInteger
	case "integer":
		return typeInteger
	case "boolean":
		return typeBoolean
	case "null":
		return typeNull
	}
	return 0
}

// keywords are those that are understood; the value is the type that they speak of, 0: any.
func keyword(name string) (about int, known bool) {
	switch name {
	case "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions", "title", "description", "default", "examples",
		"example", "$schema", "$id", "id", "$comment", "deprecated", "readOnly", "writeOnly", "nullable", "discriminator", "format", "strict":
		return 0, true
	case "properties", "required", "additionalProperties", "minProperties", "maxProperties":
		return typeObject, true
	case "items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems":
		return typeArray, true
	case "minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType":
		return typeString, true
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
		return typeNumber | typeInteger, true
	}
	return 0, false
}

// supported refuses what is not understood, so that no promise is broken silently.
func supported(n *node) error {
	for _, k := range n.keys {
		if _, known := keyword(k); !known {
			return constraintError("%s: the keyword %.64q is not supported", n.path, k)
		}
	}
	if u := n.field("uniqueItems"); u != nil && u.kind != 'f' {
		return constraintError("%s: uniqueItems is not supported", u.path)
	}
	return nil
}

// types returns what types a schema allows. One without "type" that speaks of one type only means it.
func types(n *node) (int, error) {
	t := n.field("type")
	if t == nil {
		about := 0
		for _, k := range n.keys {
			a, _ := keyword(k)
			about |= a
		}
		if about == 0 || n.field("enum") != nil || n.field("const") != nil {
			return typeAll, nil
		}
		return about, nil
	}
	names := t.items
	if t.kind == '"' {
		names = []*node{t}
	}
	mask := 0
	for _, name := range names {
		m := typeOf(name.text)
		if m == 0 {
			return 0, constraintError("%s: type %.64q is unknown", t.path, name.text)
		}
		mask |= m
	}
	if mask == 0 {
		return 0, constraintError("%s must be a type or a list of types", t.path)
	}
	if nullable := n.field("nullable"); nullable != nil && nullable.kind == 't' {
		mask |= typeNull
	}
	return mask, nil
}

// says reports whether a schema without references restricts values.
func says(n *node) bool {
	return slices.ContainsFunc(n.keys, func(k string) bool {
		about, _ := keyword(k)
		return about != 0 || k == "format"
	})
}

// value compiles a conjunction of schemas without references and choices.
func (c *compiler) value(bases []item, path string) ([]int32, error) {
	mask := typeAll
	var enums []*node
	for _, i := range bases {
		m, err := types(i.n)
		if err != nil {
			return nil, err
		}
		mask &= m
		if e := i.n.field("enum"); e != nil {
			if e.kind != '[' {
				return nil, constraintError("%s must be a list", e.path)
			}
			enums = append(enums, e)
		}
		if v := i.n.field("const"); v != nil {
			enums = append(enums, &node{kind: '[', items: []*node{v}, path: v.path})
		}
	}
	if len(enums) > 0 {
		return c.enum(bases, enums, mask)
	}
	if mask == typeAll && !slices.ContainsFunc(bases, func(i item) bool { return says(i.n) }) {
		return []int32{c.b.anyValue()}, nil
	}
	var out []int32
	for _, t := range []struct {
		bit  int
		make func([]item, string) (int32, error)
	}{{typeObject, c.object}, {typeArray, c.array}, {typeString, c.text}} {
		if mask&t.bit == 0 {
			continue
		}
		pc, err := t.make(bases, path)
		if err != nil {
			return nil, err
		}
		out = append(out, pc)
	}
	if mask&(typeNumber|typeInteger) != 0 {
		i, whole, err := bounds(bases)
		if err != nil {
			return nil, err
		}
		whole = whole || mask&typeNumber == 0
		switch {
		case i.bounded():
			out = append(out, c.b.numberIn(i, whole, pcReturn))
		case whole:
			out = append(out, c.b.integer(pcReturn))
		default:
			out = append(out, c.b.number(pcReturn))
		}
	}
	if mask&typeBoolean != 0 {
		out = append(out, c.b.literal("true", pcReturn), c.b.literal("false", pcReturn))
	}
	if mask&typeNull != 0 {
		out = append(out, c.b.literal("null", pcReturn))
	}
	return out, nil
}

package grammar

import "slices"

// exclusive checks that no value is valid under two alternatives of oneOf, which an automaton that takes
// any of them does not see. It knows the cases that people write: other types, other listed values, or
// objects that tell their kind by a property.
func (c *compiler) exclusive(f *node) error {
	for i, a := range f.items {
		for j := range i {
			if !c.apart(a, f.items[j], 0) {
				return constraintError("%s: alternatives %d and %d may both hold: use anyOf, or tell them apart by type or by a required property with a const",
					f.path, j, i)
			}
		}
	}
	return nil
}

func (c *compiler) apart(a, b *node, depth int) bool {
	a, b = c.follow(a), c.follow(b)
	if depth > 4 || a == nil || b == nil {
		return false
	}
	if a.kind == 'f' || b.kind == 'f' {
		return true
	}
	s, errS := types(a)
	t, errT := types(b)
	if errS != nil || errT != nil {
		return false
	}
	if s&t == 0 {
		return true
	}
	if x, y := listed(a), listed(b); x != nil && y != nil {
		return !slices.ContainsFunc(x, func(v *node) bool { return slices.ContainsFunc(y, func(w *node) bool { return same(v, w) }) })
	}
	if s&t != typeObject {
		return false
	}
	for _, name := range a.field("required").list() {
		isName := func(n *node) bool { return n.text == name.text }
		p, q := a.field("properties").field(name.text), b.field("properties").field(name.text)
		if p != nil && q != nil && slices.ContainsFunc(b.field("required").list(), isName) && c.apart(p, q, depth+1) {
			return true
		}
	}
	return false
}

// follow goes to what a mere reference refers to.
func (c *compiler) follow(n *node) *node {
	for range maxDepth {
		r := n.field("$ref")
		if r == nil {
			return n
		}
		to, err := c.resolve(r)
		if err != nil {
			return nil
		}
		n = to
	}
	return nil
}

func listed(n *node) []*node {
	if v := n.field("const"); v != nil {
		return []*node{v}
	}
	return n.field("enum").list()
}

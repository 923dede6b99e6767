package grammar

import (
	"slices"
	"unicode/utf8"
)

// property is one that an object may have.
type property struct {
	name     string
	value    int32 // its rule
	required bool
}

// object compiles objects. Properties come in the order of the schema, the others after them.
func (c *compiler) object(bases []item, path string) (int32, error) {
	names, required, least, most, err := members(bases)
	if err != nil {
		return 0, err
	}
	var list []property
	optional := 0
	for _, name := range names {
		value, possible, err := c.member(bases, name, path)
		if err != nil {
			return 0, err
		}
		need := required[name]
		switch {
		case !possible && need:
			return pcFail, nil
		case !possible:
			continue
		case !need:
			optional++
		default:
			optional = 0
		}
		if optional > maxOptionals {
			return 0, constraintError("%s: more than %d optional properties in a row", path, maxOptionals)
		}
		list = append(list, property{name, value, need})
	}
	others, possible, err := c.additional(bases, path)
	if err != nil {
		return 0, err
	}
	switch {
	case least > len(required):
		return 0, constraintError("%s: minProperties beyond the required ones is not supported", path)
	case most >= 0 && most < len(required):
		return pcFail, nil
	case most >= 0 && len(list) == 0 && possible:
		return c.b.list('{', '}', c.otherMember(others, nil), 0, most), nil
	case most >= 0 && (possible || most < len(list)):
		return 0, constraintError("%s: maxProperties is supported for objects without properties only", path)
	}
	rest := int32(-1)
	if possible {
		rest = c.otherMember(others, names)
	}
	return c.objectOf(list, rest), nil
}

// members lists the names that the schemas mention, in their order, and which of them are required.
func members(bases []item) (names []string, required map[string]bool, least, most int, _ error) {
	most = -1
	required = map[string]bool{}
	known := map[string]bool{}
	add := func(name string) {
		if !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	for _, i := range bases {
		p := i.n.field("properties")
		if p != nil && p.kind != '{' {
			return nil, nil, 0, 0, constraintError("%s must be an object of schemas", p.path)
		}
		if p != nil {
			for _, k := range p.keys {
				add(k)
			}
		}
		lo, hi, err := limits(i.n, "minProperties", "maxProperties")
		if err != nil {
			return nil, nil, 0, 0, err
		}
		together(&least, &most, lo, hi)
	}
	for _, i := range bases {
		r := i.n.field("required")
		if r != nil && r.kind != '[' {
			return nil, nil, 0, 0, constraintError("%s must be a list of names", r.path)
		}
		for _, name := range r.list() {
			if name.kind != '"' {
				return nil, nil, 0, 0, constraintError("%s must be a name", name.path)
			}
			add(name.text)
			required[name.text] = true
		}
	}
	return names, required, least, most, nil
}

// member returns the rule of a property's value.
func (c *compiler) member(bases []item, name, path string) (rule int32, possible bool, _ error) {
	var items []item
	for _, i := range bases {
		s := i.n.field("properties").field(name)
		if s == nil {
			s = i.n.field("additionalProperties")
		}
		switch {
		case s == nil || s.kind == 't':
		case s.kind == 'f':
			return 0, false, nil
		default:
			items = append(items, item{n: s})
		}
	}
	rule, err := c.rule(items, path+"/properties/"+pointerEscape(name))
	return rule, true, err
}

// additional returns the rule of the values of properties that are not mentioned.
func (c *compiler) additional(bases []item, path string) (rule int32, possible bool, _ error) {
	var items []item
	for _, i := range bases {
		switch s := i.n.field("additionalProperties"); {
		case s == nil || s.kind == 't':
		case s.kind == 'f':
			return 0, false, nil
		default:
			items = append(items, item{n: s})
		}
	}
	rule, err := c.rule(items, path+"/additionalProperties")
	return rule, true, err
}

// objectOf emits an object of properties in their order; rest is a rule for further members, -1: none.
func (c *compiler) objectOf(list []property, rest int32) int32 {
	b := c.b
	end := b.byteRange('}', '}', pcReturn)
	spacedEnd := b.space(end)
	// What may follow, when members have come before and when not.
	more, first := spacedEnd, end
	if rest >= 0 {
		item := b.byteRange(',', ',', b.space(b.call(rest, pcReturn)))
		more = b.repeat(item, 0, -1, spacedEnd)
		first = b.alt(b.call(rest, more), end)
	}
	for i := len(list) - 1; i >= 0; i-- {
		p := list[i]
		value := b.byteRange(':', ':', b.space(b.call(p.value, more)))
		key := b.literal(quote(p.name), value)
		next, begin := b.byteRange(',', ',', b.space(key)), key
		if !p.required {
			next, begin = b.alt(next, more), b.alt(key, first)
		}
		more, first = next, begin
	}
	return b.byteRange('{', '{', b.space(first))
}

// otherMember is the rule of a member whose name is none of names.
func (c *compiler) otherMember(value int32, names []string) int32 {
	b := c.b
	pc := b.reserve()
	after := b.byteRange(':', ':', b.space(b.call(value, pcReturn)))
	if len(names) == 0 {
		b.fill(pc, inst{op: opAlt, targets: []int32{b.call(b.anyString(), after)}})
		return pc
	}
	b.fill(pc, inst{op: opAlt, targets: []int32{b.byteRange('"', '"', b.otherName(names, 0, after))}})
	return pc
}

// otherName is the rest of a name that has the first n bytes of all names in common and is none of them.
// Where it may still become one it is written without escapes.
func (b *builder) otherName(names []string, n int, after int32) int32 {
	if b.err != nil {
		return pcFail
	}
	children := map[rune][]string{}
	var order []rune
	ends := false
	for _, name := range names {
		if len(name) == n {
			ends = true
			continue
		}
		r, _ := utf8.DecodeRuneInString(name[n:])
		if children[r] == nil {
			order = append(order, r)
		}
		children[r] = append(children[r], name)
	}
	free := b.call(b.restOfString(), after)
	sorted := slices.Sorted(slices.Values(order))
	// Characters that lead away from all names; '"' ends one, '\\' begins an escape.
	var away []runeRange
	from := rune(0x20)
	for _, r := range slices.Sorted(slices.Values(append(slices.Clone(sorted), '"', '\\'))) {
		if r > from {
			away = append(away, runeRange{from, r - 1})
		}
		from = max(from, r+1)
	}
	targets := []int32{b.runes(append(away, runeRange{from, utf8.MaxRune}), free)}
	if !ends {
		targets = append(targets, b.byteRange('"', '"', after))
	}
	for _, r := range sorted {
		if escaped(r) {
			continue // names with such characters cannot be begun without an escape
		}
		targets = append(targets, b.runes([]runeRange{{r, r}}, b.otherName(children[r], n+utf8.RuneLen(r), after)))
	}
	return b.alt(targets...)
}

// array compiles arrays.
func (c *compiler) array(bases []item, path string) (int32, error) {
	lo, hi, fixed := 0, -1, 0
	for _, i := range bases {
		least, most, err := limits(i.n, "minItems", "maxItems")
		if err != nil {
			return 0, err
		}
		together(&lo, &hi, least, most)
		first, _ := itemsOf(i.n)
		fixed = max(fixed, len(first))
	}
	if hi >= 0 && hi < lo {
		return pcFail, nil
	}
	if hi >= 0 {
		fixed = min(fixed, hi)
	}
	rules := make([]int32, fixed) // those of the first items
	for n := range rules {
		rule, possible, err := c.element(bases, n, path)
		if err != nil {
			return 0, err
		}
		if !possible { // the array ends before
			rules, hi = rules[:n], n
			break
		}
		rules[n] = rule
	}
	rest, possible, err := c.element(bases, 1<<30, path)
	if err != nil {
		return 0, err
	}
	if !possible && (hi < 0 || hi > len(rules)) {
		hi = len(rules)
	}
	if hi >= 0 && hi < lo {
		return pcFail, nil
	}
	return c.arrayOf(rules, rest, lo, hi), nil
}

// itemsOf returns the schemas of the first items and of the others.
func itemsOf(s *node) (first []*node, others *node) {
	if p := s.field("prefixItems"); p != nil {
		return p.items, s.field("items")
	}
	if i := s.field("items"); i != nil && i.kind == '[' { // before 2020-12
		return i.items, s.field("additionalItems")
	}
	return nil, s.field("items")
}

// element returns the rule of the n-th item.
func (c *compiler) element(bases []item, n int, path string) (rule int32, possible bool, _ error) {
	var items []item
	for _, i := range bases {
		first, s := itemsOf(i.n)
		if n < len(first) {
			s = first[n]
		}
		switch {
		case s == nil || s.kind == 't':
		case s.kind == 'f':
			return 0, false, nil
		default:
			items = append(items, item{n: s})
		}
	}
	rule, err := c.rule(items, path+"/items")
	return rule, true, err
}

// arrayOf emits an array of lo to hi items; hi < 0: no bound.
func (c *compiler) arrayOf(first []int32, rest int32, lo, hi int) int32 {
	b := c.b
	if len(first) == 0 {
		return b.list('[', ']', rest, lo, hi)
	}
	end := b.byteRange(']', ']', pcReturn)
	most := -1
	if hi >= 0 {
		most = hi - len(first)
	}
	more := b.repeat(b.byteRange(',', ',', b.space(b.call(rest, pcReturn))), max(0, lo-len(first)), most, b.space(end))
	for n := len(first) - 1; n > 0; n-- {
		next := b.byteRange(',', ',', b.space(b.call(first[n], more)))
		if n >= lo {
			next = b.alt(b.space(end), next)
		}
		more = next
	}
	begin := b.call(first[0], more)
	if lo == 0 {
		begin = b.alt(begin, end)
	}
	return b.byteRange('[', '[', b.space(begin))
}

package grammar

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// enum compiles values that are listed, as far as the rest of the schemas allows them.
func (c *compiler) enum(bases []item, enums []*node, mask int) ([]int32, error) {
	var out []int32
	written := map[string]bool{}
	for _, v := range enums[0].items {
		ok := mask&typeOfValue(v) != 0
		for _, e := range enums[1:] {
			ok = ok && slices.ContainsFunc(e.items, func(o *node) bool { return same(o, v) })
		}
		for _, i := range bases {
			if !ok {
				break
			}
			var err error
			if ok, err = admits(i.n, v); err != nil {
				return nil, err
			}
		}
		text := v.compact()
		if ok && !written[text] {
			written[text] = true
			out = append(out, c.b.literal(text, pcReturn))
		}
	}
	return out, nil
}

func typeOfValue(v *node) int {
	switch v.kind {
	case '{':
		return typeObject
	case '[':
		return typeArray
	case '"':
		return typeString
	case 't', 'f':
		return typeBoolean
	case 'n':
		return typeNull
	}
	if r, ok := decimal(v.text); ok && r.IsInt() {
		return typeInteger
	}
	return typeNumber
}

func same(a, b *node) bool {
	if a.kind == '0' && b.kind == '0' {
		x, okX := decimal(a.text)
		y, okY := decimal(b.text)
		return okX && okY && x.Cmp(y) == 0
	}
	return a.compact() == b.compact()
}

// admits says whether a listed value fulfils the other keywords beside it.
func admits(s, v *node) (bool, error) {
	for _, k := range s.keys {
		about, _ := keyword(k)
		if about&typeOfValue(v) != 0 && (v.kind == '{' || v.kind == '[') {
			return false, constraintError("%s: %s beside listed objects or arrays is not supported", s.path, k)
		}
	}
	switch v.kind {
	case '0':
		i, whole, err := bounds([]item{{n: s}})
		if err != nil {
			return false, err
		}
		r, ok := decimal(v.text)
		return ok && i.holds(r) && (!whole || r.IsInt()), nil
	case '"':
		least, most, err := limits(s, "minLength", "maxLength")
		if err != nil {
			return false, err
		}
		if n := utf8.RuneCountInString(v.text); n < least || most >= 0 && n > most {
			return false, nil
		}
		for _, p := range patternsOf(s) {
			re, err := regexp.Compile(p.source())
			if err != nil {
				return false, constraintError("%s: %s", p.path, err)
			}
			if !re.MatchString(v.text) {
				return false, nil
			}
		}
	}
	return true, nil
}

// bounds collects minimum and the like.
func bounds(bases []item) (i interval, whole bool, _ error) {
	for _, it := range bases {
		for _, k := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} {
			f := it.n.field(k)
			if f == nil {
				continue
			}
			if f.kind == 't' || f.kind == 'f' { // draft 4
				continue
			}
			v, ok := decimal(f.text)
			if f.kind != '0' || !ok {
				return i, whole, constraintError("%s must be a number of at most %d digits", f.path, maxExponent)
			}
			open := it.n.field("exclusiveM" + strings.TrimPrefix(k, "m"))
			switch k {
			case "minimum":
				i.above(v, open != nil && open.kind == 't')
			case "exclusiveMinimum":
				i.above(v, true)
			case "maximum":
				i.below(v, open != nil && open.kind == 't')
			case "exclusiveMaximum":
				i.below(v, true)
			default:
				if v.Cmp(big.NewRat(1, 1)) != 0 {
					return i, whole, constraintError("%s: multipleOf is supported for 1 only", f.path)
				}
				whole = true
			}
		}
	}
	return i, whole, nil
}

// limits reads a pair of whole numbers; most is -1 when there is none.
func limits(s *node, least, most string) (int, int, error) {
	lo, err := count(s.field(least), 0)
	if err != nil {
		return 0, 0, err
	}
	hi, err := count(s.field(most), -1)
	return lo, hi, err
}

func count(f *node, def int) (int, error) {
	if f == nil {
		return def, nil
	}
	v, ok := decimal(f.text)
	if f.kind != '0' || !ok || !v.IsInt() || v.Sign() < 0 || v.Cmp(big.NewRat(maxRepeat, 1)) > 0 {
		return 0, constraintError("%s must be a whole number of 0 to %d", f.path, maxRepeat)
	}
	return int(v.Num().Int64()), nil
}

// together takes the narrower of two limits.
func together(lo, hi *int, least, most int) {
	*lo = max(*lo, least)
	if most >= 0 && (*hi < 0 || most < *hi) {
		*hi = most
	}
}

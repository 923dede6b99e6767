package grammar

import "slices"

// pattern is an expression that a string must match.
type pattern struct {
	text, path string
	format     bool // matches the whole string
}

// source is the pattern in RE2 syntax.
func (p pattern) source() string {
	if p.format {
		return `^(?:` + p.text + `)$`
	}
	return ecma(p.text)
}

func patternsOf(s *node) []pattern {
	var out []pattern
	if f := s.field("pattern"); f != nil {
		out = append(out, pattern{f.text, f.path, false})
	}
	if f := s.field("format"); f != nil {
		if text, known := formatPattern(f.text); known {
			out = append(out, pattern{text, f.path, true})
		}
	}
	return out
}

// text compiles strings.
func (c *compiler) text(bases []item, path string) (int32, error) {
	lo, hi := 0, -1
	var patterns []pattern
	for _, i := range bases {
		least, most, err := limits(i.n, "minLength", "maxLength")
		if err != nil {
			return 0, err
		}
		together(&lo, &hi, least, most)
		if f := i.n.field("format"); f != nil {
			if _, known := formatPattern(f.text); !known {
				return 0, constraintError("%s: the format %.64q is not supported for strings: use %s, or a pattern", f.path, f.text, knownFormats)
			}
		}
		for _, p := range patternsOf(i.n) {
			if !slices.ContainsFunc(patterns, func(q pattern) bool { return q.text == p.text && q.format == p.format }) {
				patterns = append(patterns, p)
			}
		}
	}
	if hi >= 0 && lo > hi {
		return pcFail, nil
	}
	b := c.b
	if len(patterns) == 0 {
		if lo == 0 && hi < 0 {
			return b.anyString(), nil
		}
		return b.byteRange('"', '"', b.repeat(b.oneChar(), lo, hi, b.byteRange('"', '"', pcReturn))), nil
	}
	n, err := parsePattern(patterns[0].source(), true)
	if err != nil {
		return 0, constraintError("%s: %s", patterns[0].path, err)
	}
	for _, p := range patterns[1:] {
		m, err := parsePattern(p.source(), true)
		if err == nil {
			n, err = both(n, m)
		}
		if err != nil {
			return 0, constraintError("%s: %s", p.path, err)
		}
	}
	if lo > 0 || hi >= 0 {
		m, err := ofLength(lo, hi)
		if err == nil {
			n, err = both(n, m)
		}
		if err != nil {
			return 0, constraintError("%s: %s", path, err)
		}
	}
	return b.byteRange('"', '"', b.runeNFA(n, b.jsonRunes, b.byteRange('"', '"', pcReturn))), nil
}

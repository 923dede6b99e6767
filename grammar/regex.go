package grammar

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// runeNFA is an automaton over characters, without empty steps. State 0 is the first.
type runeNFA []runeState

type runeState struct {
	edges  []runeEdge
	accept bool
}

type runeEdge struct {
	ranges []runeRange
	to     int
}

// regex compiles an expression that the whole text must match.
func (b *builder) regex(source string) (int32, error) {
	n, err := parsePattern(source, false)
	if err != nil {
		return 0, constraintError("regex: %s", err)
	}
	return b.runeNFA(n, b.runes, pcMatch), nil
}

// runeNFA emits an automaton; char emits one character.
func (b *builder) runeNFA(n runeNFA, char func([]runeRange, int32) int32, next int32) int32 {
	pcs := make([]int32, len(n))
	for i := range n {
		pcs[i] = b.reserve()
	}
	for i, s := range n {
		var targets []int32
		for _, e := range s.edges {
			targets = append(targets, char(e.ranges, pcs[e.to]))
		}
		if s.accept {
			targets = append(targets, next)
		}
		b.fill(pcs[i], inst{op: opAlt, targets: targets})
		if b.err != nil {
			break
		}
	}
	return pcs[0]
}

type patternError string

func (e patternError) Error() string { return string(e) }

// parsePattern reads an expression. Unanchored, a match anywhere in the text is enough, as JSON Schema
// has it; its ECMA syntax is read as far as RE2 has the same.
func parsePattern(source string, unanchored bool) (runeNFA, error) {
	if unanchored {
		source = `(?s:.*)(?:` + ecma(source) + `)(?s:.*)`
	}
	re, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return nil, patternError(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "error parsing regexp: "), "\n", " ") + " (RE2 syntax is understood, which has no look-around and no back-references)")
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, patternError(err.Error())
	}
	if len(prog.Inst) > maxPattern {
		return nil, patternError("it is too large: use smaller repetitions")
	}
	return fromProg(prog)
}

// ecma rewrites \uXXXX, which RE2 writes otherwise.
func ecma(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], `\u{`):
			out.WriteString(`\x`)
			i++
		case s[i] == '\\' && i+5 < len(s) && s[i+1] == 'u':
			out.WriteString(`\x{` + s[i+2:i+6] + `}`)
			i += 5
		case s[i] == '\\' && i+1 < len(s):
			out.WriteString(s[i : i+2])
			i++
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

// fromProg takes the empty steps out of a compiled expression.
func fromProg(p *syntax.Prog) (runeNFA, error) {
	type key struct {
		pc    uint32
		first bool
	}
	var nfa runeNFA
	ids := map[key]int{}
	var todo []key
	id := func(k key) int {
		n, ok := ids[k]
		if !ok {
			n = len(nfa)
			ids[k] = n
			nfa = append(nfa, runeState{})
			todo = append(todo, k)
		}
		return n
	}
	id(key{uint32(p.Start), true})
	size, work := 0, 0
	for len(todo) > 0 {
		k := todo[0]
		todo = todo[1:]
		at := ids[k]
		live, accept, visited, err := closure(p, k.pc, k.first)
		if err != nil {
			return nil, err
		}
		if work += visited; work > maxPatternWork {
			return nil, patternError("it is too large: use fewer alternatives and optional parts")
		}
		nfa[at].accept = accept
		for _, pc := range live {
			i := &p.Inst[pc]
			r := rangesOf(i)
			if size += 1 + len(r); size > maxProgram {
				return nil, patternError("it is too large: use smaller repetitions and classes")
			}
			if len(r) > 0 {
				to := id(key{i.Out, false})
				nfa[at].edges = append(nfa[at].edges, runeEdge{r, to})
			}
		}
	}
	return nfa, nil
}

// closure returns the instructions behind pc that take a character, and whether the text may end.
func closure(p *syntax.Prog, pc uint32, first bool) (live []uint32, accept bool, visited int, _ error) {
	type visit struct {
		pc   uint32
		last bool // only the end may follow
	}
	seen := map[visit]bool{}
	work := []visit{{pc, false}}
	for len(work) > 0 {
		v := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[v] {
			continue
		}
		seen[v] = true
		i := &p.Inst[v.pc]
		switch i.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			work = append(work, visit{i.Arg, v.last}, visit{i.Out, v.last})
		case syntax.InstCapture, syntax.InstNop:
			work = append(work, visit{i.Out, v.last})
		case syntax.InstEmptyWidth:
			switch syntax.EmptyOp(i.Arg) {
			case syntax.EmptyBeginText:
				if first {
					work = append(work, visit{i.Out, v.last})
				}
			case syntax.EmptyEndText:
				work = append(work, visit{i.Out, true})
			default:
				return nil, false, 0, patternError(`\b, \B and (?m) are not supported`)
			}
		case syntax.InstMatch:
			accept = true
		case syntax.InstFail:
		default:
			if !v.last {
				live = append(live, v.pc)
			}
		}
	}
	slices.Sort(live)
	return slices.Compact(live), accept, len(seen), nil
}

func rangesOf(i *syntax.Inst) []runeRange {
	switch i.Op {
	case syntax.InstRuneAny:
		return []runeRange{{0, utf8.MaxRune}}
	case syntax.InstRuneAnyNotNL:
		return []runeRange{{0, '\n' - 1}, {'\n' + 1, utf8.MaxRune}}
	}
	if len(i.Rune) == 1 {
		r := i.Rune[0]
		out := []runeRange{{r, r}}
		if syntax.Flags(i.Arg)&syntax.FoldCase != 0 {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				out = append(out, runeRange{f, f})
			}
		}
		slices.SortFunc(out, func(a, b runeRange) int { return int(a.lo - b.lo) })
		return out
	}
	var out []runeRange
	for j := 0; j+1 < len(i.Rune); j += 2 {
		out = append(out, runeRange{i.Rune[j], i.Rune[j+1]})
	}
	return out
}

// both accepts what a and b accept.
func both(a, b runeNFA) (runeNFA, error) {
	type key struct{ a, b int }
	var out runeNFA
	ids := map[key]int{}
	var todo []key
	id := func(k key) int {
		n, ok := ids[k]
		if !ok {
			n = len(out)
			ids[k] = n
			out = append(out, runeState{accept: a[k.a].accept && b[k.b].accept})
			todo = append(todo, k)
		}
		return n
	}
	id(key{})
	size, work := 0, 0
	for len(todo) > 0 {
		k := todo[0]
		todo = todo[1:]
		at := ids[k]
		for _, x := range a[k.a].edges {
			for _, y := range b[k.b].edges {
				r := common(x.ranges, y.ranges)
				work += 1 + len(x.ranges) + len(y.ranges)
				if size += 1 + len(r); size > maxProgram || work > maxPatternWork || len(out) > maxPattern {
					return nil, patternError("the patterns are too large together: simplify one")
				}
				if len(r) > 0 {
					to := id(key{x.to, y.to})
					out[at].edges = append(out[at].edges, runeEdge{r, to})
				}
			}
		}
	}
	return out, nil
}

// common returns the characters of both; ranges ascend.
func common(a, b []runeRange) []runeRange {
	var out []runeRange
	for len(a) > 0 && len(b) > 0 {
		if lo, hi := max(a[0].lo, b[0].lo), min(a[0].hi, b[0].hi); lo <= hi {
			out = append(out, runeRange{lo, hi})
		}
		if a[0].hi < b[0].hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// ofLength accepts texts of least to most characters; most < 0: no bound.
func ofLength(least, most int) (runeNFA, error) {
	n := least
	if most >= 0 {
		n = most
	}
	if n > maxPattern {
		return nil, patternError("together with a pattern, lengths are bounded to 20000")
	}
	any := []runeRange{{0, utf8.MaxRune}}
	out := make(runeNFA, n+1)
	for i := range out {
		out[i].accept = i >= least
		switch {
		case i < n:
			out[i].edges = []runeEdge{{any, i + 1}}
		case most < 0:
			out[i].edges = []runeEdge{{any, i}}
		}
	}
	return out, nil
}

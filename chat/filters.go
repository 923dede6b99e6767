package chat

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// plainFilters are gonja's own that are safe and behave as in Python.
var plainFilters = []string{"abs", "attr", "batch", "capitalize", "count", "d", "default", "e", "escape", "first", "float",
	"groupby", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "safe",
	"select", "selectattr", "sort", "string", "sum", "title", "unique", "upper"}

// filters are what templates may apply.
func filters() *exec.FilterSet {
	all := make(map[string]exec.FilterFunction)
	for _, name := range plainFilters {
		if f, ok := builtins.Filters.Get(name); ok {
			all[name] = weighed(f)
		}
	}
	for name, f := range map[string]exec.FilterFunction{"tojson": filterJSON, "trim": filterTrim, "replace": filterReplace, "join": filterJoin,
		"indent": filterIndent, "items": filterItems, "dictsort": filterSorted, repeatName: filterRepeat} {
		all[name] = weighed(f)
	}
	return exec.NewFilterSet(all)
}

// weighed accounts for a filter's result, and makes sequences of it that take negative indices.
func weighed(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		b := budgetOf(e.Environment.Context)
		if err := b.step(); err != nil {
			return exec.AsValue(err)
		}
		if in.IsError() {
			return in
		}
		out := f(e, in, params)
		if out.IsError() {
			return out
		}
		if err := b.fits(weigh(out, 0)); err != nil {
			return exec.AsValue(err)
		}
		return listed(out)
	}
}

func listed(v *exec.Value) *exec.Value {
	if !v.IsList() {
		return v
	}
	if _, ok := v.Interface().(list); ok {
		return v
	}
	l := list{}
	for _, x := range items(v) {
		l = append(l, exec.ToValue(x))
	}
	return exec.AsValue(l)
}

func argument(params *exec.VarArgs, at int, name string) *exec.Value {
	if v, ok := params.KwArgs[name]; ok {
		return v
	}
	if at < len(params.Args) {
		return params.Args[at]
	}
	return nil
}

func filterJSON(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	j := jsonStyle{item: ", ", pair: ": "}
	if v := argument(params, 0, "ensure_ascii"); v != nil && v.IsBool() {
		j.ascii = v.Bool()
	}
	if v := argument(params, 1, "indent"); v != nil && v.IsInteger() {
		if v.Integer() < 0 || v.Integer() > maxWidth {
			return exec.AsValue(fmt.Errorf("tojson: indent is %d, must be at most %d", v.Integer(), maxWidth))
		}
		j.indent, j.lines, j.item = strings.Repeat(" ", v.Integer()), true, ","
	}
	if v := argument(params, 2, "separators"); v != nil && v.IsList() && v.Len() == 2 {
		s := items(v)
		j.item, j.pair = exec.ToValue(s[0]).String(), exec.ToValue(s[1]).String()
	}
	if v := argument(params, 3, "sort_keys"); v != nil {
		j.sort = v.IsTrue()
	}
	var b strings.Builder
	if err := j.dump(&b, in, 0); err != nil {
		return exec.AsValue(err)
	}
	return exec.AsSafeValue(b.String())
}

func sortedPairs(in []*exec.Pair) []*exec.Pair {
	out := append([]*exec.Pair(nil), in...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Key.String() < out[j].Key.String() })
	return out
}

func filterTrim(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if v := argument(params, 0, "chars"); v != nil && !v.IsNil() {
		return exec.AsValue(strings.Trim(in.String(), v.String()))
	}
	return exec.AsValue(strings.TrimFunc(in.String(), pythonSpace))
}

// pythonSpace is str.isspace.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || (r >= 0x1C && r <= 0x1F) }

func filterReplace(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	from, to := argument(params, 0, "old"), argument(params, 1, "new")
	if from == nil || to == nil {
		return exec.AsValue(errors.New("replace takes two texts"))
	}
	n := -1
	if v := argument(params, 2, "count"); v != nil && v.IsInteger() {
		n = v.Integer()
	}
	s, err := replaced(budgetOf(e.Environment.Context), in.String(), from.String(), to.String(), n)
	if err != nil {
		return exec.AsValue(err)
	}
	return exec.AsValue(s)
}

func replaced(b *budget, s, from, to string, n int) (string, error) {
	count := strings.Count(s, from)
	if n >= 0 {
		count = min(count, n)
	}
	if err := b.fits(len(s) + count*len(to)); err != nil {
		return "", err
	}
	return strings.Replace(s, from, to, n), nil
}

func filterJoin(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	sep := ""
	if v := argument(params, 0, "d"); v != nil {
		sep = v.String()
	}
	attribute := argument(params, 1, "attribute")
	var texts []string
	size := 0
	for _, x := range items(in) {
		x = exec.ToValue(x)
		if attribute != nil {
			x, _ = x.Get(attribute.String())
		}
		texts = append(texts, x.String())
		size += len(sep) + len(texts[len(texts)-1])
	}
	if err := budgetOf(e.Environment.Context).fits(size); err != nil {
		return exec.AsValue(err)
	}
	return exec.AsValue(strings.Join(texts, sep))
}

func filterIndent(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	pad := "    "
	if v := argument(params, 0, "width"); v != nil {
		pad = v.String()
		if v.IsInteger() {
			if v.Integer() < 0 || v.Integer() > maxWidth {
				return exec.AsValue(fmt.Errorf("indent: width is %d, must be at most %d", v.Integer(), maxWidth))
			}
			pad = strings.Repeat(" ", v.Integer())
		}
	}
	truth := func(at int, name string) bool {
		v := argument(params, at, name)
		return v != nil && v.IsTrue()
	}
	first, blank := truth(1, "first"), truth(2, "blank")
	s := in.String()
	if err := budgetOf(e.Environment.Context).fits(len(s) + (strings.Count(s, "\n")+1)*len(pad)); err != nil {
		return exec.AsValue(err)
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if (i > 0 || first) && (l != "" || blank || (i == 0 && first)) {
			lines[i] = pad + l
		}
	}
	return exec.AsValue(strings.Join(lines, "\n"))
}

// filterSorted is dictsort, by key or value, without regard to case unless asked for.
func filterSorted(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if !in.IsDict() {
		return exec.AsValue(errors.New("dictsort: not a mapping"))
	}
	fold, by, backwards := strings.ToLower, argument(params, 1, "by"), argument(params, 2, "reverse")
	if v := argument(params, 0, "case_sensitive"); v != nil && v.IsTrue() {
		fold = func(s string) string { return s }
	}
	word := func(p *exec.Pair) string {
		if by != nil && by.String() == "value" {
			return fold(p.Value.String())
		}
		return fold(p.Key.String())
	}
	sorted := append([]*exec.Pair(nil), pairs(in)...)
	sort.SliceStable(sorted, func(i, j int) bool {
		if backwards != nil && backwards.IsTrue() {
			i, j = j, i
		}
		return word(sorted[i]) < word(sorted[j])
	})
	return exec.AsValue(entries(exec.AsValue(&exec.Dict{Pairs: sorted})))
}

func filterItems(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	if in.IsNil() {
		return exec.AsValue(list{})
	}
	if !in.IsDict() {
		return exec.AsValue(errors.New("items: not a mapping"))
	}
	return exec.AsValue(entries(in))
}

func entries(v *exec.Value) list {
	out := list{}
	for _, p := range pairs(v) {
		out = append(out, list{exec.ToValue(p.Key).Interface(), exec.ToValue(p.Value).Interface()})
	}
	return out
}

// repeatName is the filter that a template's text * number becomes; no template can name it by chance.
const repeatName = "repeat__"

func filterRepeat(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	v := params.First()
	switch {
	case !v.IsInteger():
		return exec.AsValue(errors.New("a text is multiplied by what is no whole number"))
	case v.Integer() > maxRepeat:
		return exec.AsValue(fmt.Errorf("a text is multiplied by %d, at most %d copies are allowed", v.Integer(), maxRepeat))
	}
	return exec.AsValue(strings.Repeat(in.String(), max(0, v.Integer())))
}

package chat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// methods are what templates may call on values. Nothing changes a value: Hugging Face's sandbox
// forbids that, too.
func methods() exec.Methods {
	m := builtins.Methods
	m.Str = exec.NewMethodSet(textMethods())
	m.Dict = exec.NewMethodSet(map[string]exec.Method[map[string]any]{
		"items": func(_ map[string]any, v *exec.Value, _ *exec.VarArgs) (any, error) { return entries(v), nil },
		"keys": func(_ map[string]any, v *exec.Value, _ *exec.VarArgs) (any, error) {
			out := list{}
			for _, p := range pairs(v) {
				out = append(out, exec.ToValue(p.Key))
			}
			return out, nil
		},
		"values": func(_ map[string]any, v *exec.Value, _ *exec.VarArgs) (any, error) {
			out := list{}
			for _, p := range pairs(v) {
				out = append(out, exec.ToValue(p.Value))
			}
			return out, nil
		},
		"get": func(_ map[string]any, v *exec.Value, args *exec.VarArgs) (any, error) {
			key := argument(args, 0, "key")
			if key == nil {
				return nil, fmt.Errorf("get takes a key")
			}
			for _, p := range pairs(v) {
				if p.Key.EqualValueTo(key) {
					return exec.ToValue(p.Value).Interface(), nil
				}
			}
			if d := argument(args, 1, "default"); d != nil {
				return d.Interface(), nil
			}
			return nil, nil
		},
	})
	m.List = exec.NewMethodSet(map[string]exec.Method[[]any]{
		"count": func(_ []any, v *exec.Value, args *exec.VarArgs) (any, error) {
			n := 0
			for _, x := range items(v) {
				if len(args.Args) > 0 && exec.ToValue(x).EqualValueTo(args.Args[0]) {
					n++
				}
			}
			return n, nil
		},
	})
	return m
}

type textMethod func(s string, a *exec.VarArgs) (any, error)

func textMethods() map[string]exec.Method[string] {
	out := make(map[string]exec.Method[string])
	for name, f := range map[string]textMethod{
		"strip":  trimmer(strings.Trim, strings.TrimFunc),
		"lstrip": trimmer(strings.TrimLeft, strings.TrimLeftFunc),
		"rstrip": trimmer(strings.TrimRight, strings.TrimRightFunc),
		"split":  split, "rsplit": rsplit,
		"splitlines": func(s string, _ *exec.VarArgs) (any, error) { return splitLines(s), nil },
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"removeprefix": cutter(strings.TrimPrefix), "removesuffix": cutter(strings.TrimSuffix),
		"upper": plain(strings.ToUpper), "lower": plain(strings.ToLower), "title": plain(title), "capitalize": plain(capitalize),
		"find": finder(strings.Index), "rfind": finder(strings.LastIndex),
		"count":   counter,
		"replace": replace,
		"isdigit": every(unicode.IsDigit), "isalpha": every(unicode.IsLetter), "isspace": every(pythonSpace),
		"isalnum": every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": plainTruth(func(s string) bool { return s == strings.ToUpper(s) && s != strings.ToLower(s) }),
		"islower": plainTruth(func(s string) bool { return s == strings.ToLower(s) && s != strings.ToUpper(s) }),
		"join":    joinMethod,
	} {
		out[name] = func(s string, _ *exec.Value, a *exec.VarArgs) (any, error) { return f(s, a) }
	}
	return out
}

// Methods do not see the budget; these bounds keep what they make from growing far.
const maxGrowth = 16 << 20

func text(a *exec.VarArgs, at int, name string) (string, bool) {
	v := argument(a, at, name)
	if v == nil || v.IsNil() {
		return "", false
	}
	return v.String(), true
}

func trimmer(chars func(s, set string) string, class func(string, func(rune) bool) string) textMethod {
	return func(s string, a *exec.VarArgs) (any, error) {
		if set, ok := text(a, 0, "chars"); ok {
			return chars(s, set), nil
		}
		return class(s, pythonSpace), nil
	}
}

func limit(a *exec.VarArgs) int {
	if v := argument(a, 1, "maxsplit"); v != nil && v.IsInteger() && v.Integer() >= 0 {
		return v.Integer()
	}
	return -1
}

// split is str.split, which counts cuts where Go counts parts.
func split(s string, a *exec.VarArgs) (any, error) {
	n := limit(a)
	sep, ok := text(a, 0, "sep")
	switch {
	case ok && sep == "":
		return nil, fmt.Errorf("split: empty separator")
	case ok && n < 0:
		return listOf(strings.Split(s, sep)), nil
	case ok:
		return listOf(strings.SplitN(s, sep, n+1)), nil
	}
	words := list{}
	for s = strings.TrimLeftFunc(s, pythonSpace); s != ""; s = strings.TrimLeftFunc(s, pythonSpace) {
		i := strings.IndexFunc(s, pythonSpace)
		if i < 0 || n == 0 {
			words = append(words, s)
			break
		}
		words, s, n = append(words, s[:i]), s[i:], n-1
	}
	return words, nil
}

// rsplit is str.rsplit with a separator.
func rsplit(s string, a *exec.VarArgs) (any, error) {
	n := limit(a)
	sep, ok := text(a, 0, "sep")
	if !ok || n < 0 {
		return split(s, a)
	}
	if sep == "" {
		return nil, fmt.Errorf("rsplit: empty separator")
	}
	var tail list
	for ; n > 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		tail = append(tail, s[i+len(sep):])
		s = s[:i]
	}
	out := list{s}
	for i := len(tail) - 1; i >= 0; i-- {
		out = append(out, tail[i])
	}
	return out, nil
}

func splitLines(s string) list {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	if s == "" {
		return list{}
	}
	return listOf(strings.Split(strings.TrimSuffix(s, "\n"), "\n"))
}

func listOf(s []string) list {
	out := make(list, len(s))
	for i, x := range s {
		out[i] = x
	}
	return out
}

func affix(has func(s, x string) bool) textMethod {
	return func(s string, a *exec.VarArgs) (any, error) {
		v := argument(a, 0, "prefix")
		if v == nil {
			return nil, fmt.Errorf("startswith and endswith take a text")
		}
		if v.IsList() {
			for _, x := range items(v) {
				if has(s, exec.ToValue(x).String()) {
					return true, nil
				}
			}
			return false, nil
		}
		return has(s, v.String()), nil
	}
}

func cutter(cut func(s, x string) string) textMethod {
	return func(s string, a *exec.VarArgs) (any, error) {
		x, _ := text(a, 0, "prefix")
		return cut(s, x), nil
	}
}

func plain(f func(string) string) textMethod {
	return func(s string, _ *exec.VarArgs) (any, error) { return f(s), nil }
}

func plainTruth(f func(string) bool) textMethod {
	return func(s string, _ *exec.VarArgs) (any, error) { return f(s), nil }
}

func every(class func(rune) bool) textMethod {
	return plainTruth(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !class(r) }) < 0
	})
}

func finder(index func(s, x string) int) textMethod {
	return func(s string, a *exec.VarArgs) (any, error) {
		x, _ := text(a, 0, "sub")
		i := index(s, x)
		if i > 0 {
			i = utf8.RuneCountInString(s[:i])
		}
		return i, nil
	}
}

func counter(s string, a *exec.VarArgs) (any, error) {
	x, _ := text(a, 0, "sub")
	return strings.Count(s, x), nil
}

func replace(s string, a *exec.VarArgs) (any, error) {
	from, ok := text(a, 0, "old")
	to, ok2 := text(a, 1, "new")
	if !ok || !ok2 {
		return nil, fmt.Errorf("replace takes two texts")
	}
	n := -1
	if v := argument(a, 2, "count"); v != nil && v.IsInteger() {
		n = v.Integer()
	}
	return replaced(&budget{size: maxGrowth}, s, from, to, n)
}

func joinMethod(s string, a *exec.VarArgs) (any, error) {
	var texts []string
	size := 0
	if len(a.Args) > 0 {
		for _, x := range items(a.Args[0]) {
			texts = append(texts, exec.ToValue(x).String())
			size += len(s) + len(texts[len(texts)-1])
		}
	}
	if size > maxGrowth {
		return nil, fmt.Errorf("join: more than %d bytes", maxGrowth)
	}
	return strings.Join(texts, s), nil
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

// title is str.title.
func title(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		was := inside
		inside = unicode.IsLetter(r)
		if inside && !was {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

package chat

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// refused is raise_exception: the template's own word on why it does not take the conversation.
type refused struct{ message string }

func (r *refused) Error() string { return r.message }

// globals are the functions that templates may call.
func globals() *exec.Context {
	all := map[string]any{
		"raise_exception": func(e *exec.Evaluator, a *exec.VarArgs) (*exec.Value, error) {
			message := "no reason given"
			if v := argument(a, 0, "message"); v != nil {
				message = v.String()
			}
			b := budgetOf(e.Environment.Context)
			b.spent = &refused{message} // the engine passes on an error's text only
			return nil, b.spent
		},
		"range": countTo,
		"strftime_now": func(e *exec.Evaluator, a *exec.VarArgs) (*exec.Value, error) {
			now, _ := e.Environment.Context.Get(nowEntry)
			t, ok := now.(time.Time)
			if !ok || len(a.Args) == 0 {
				return nil, errors.New("strftime_now takes a format")
			}
			return exec.AsValue(strftime(t, a.Args[0].String())), nil
		},
	}
	for _, name := range []string{"namespace", "dict", "cycler", "joiner"} {
		if f, ok := builtins.GlobalFunctions.Get(name); ok {
			all[name] = f
		}
	}
	return exec.NewContext(all)
}

const nowEntry = "\x00now"

// countTo is range, of bounded length.
func countTo(e *exec.Evaluator, a *exec.VarArgs) (*exec.Value, error) {
	var n []int
	for _, v := range a.Args {
		if !v.IsInteger() {
			return nil, errors.New("range takes whole numbers")
		}
		n = append(n, v.Integer())
	}
	var from, to int
	step := 1
	switch len(n) {
	case 1:
		to = n[0]
	case 2:
		from, to = n[0], n[1]
	case 3:
		from, to, step = n[0], n[1], n[2]
	default:
		return nil, errors.New("range takes one to three numbers")
	}
	if step == 0 {
		return nil, errors.New("range: the step is 0")
	}
	out := list{}
	for i := from; (step > 0 && i < to) || (step < 0 && i > to); i += step {
		if out = append(out, i); len(out) > maxRange {
			return nil, budgetOf(e.Environment.Context).fail(fmt.Sprintf("a range of more than %d", maxRange))
		}
	}
	return exec.AsValue(out), nil
}

// strftime writes a time by the codes that Python's has for dates and hours; others stay as they are.
func strftime(t time.Time, format string) string {
	layouts := map[byte]string{'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'H': "15", 'I': "03", 'm': "01", 'M': "04",
		'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST", 'j': "002", 'e': "_2", 'F': "2006-01-02", 'T': "15:04:05",
		'D': "01/02/06", 'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05"}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		trimmed := format[i] == '-' && i+1 < len(format)
		if trimmed {
			i++
		}
		switch layout, ok := layouts[format[i]]; {
		case ok && trimmed:
			b.WriteString(strings.TrimLeft(t.Format(layout), "0"))
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == 'f':
			fmt.Fprintf(&b, "%06d", t.Nanosecond()/1000)
		case format[i] == 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			b.WriteString("%" + string(format[i]))
		}
	}
	return b.String()
}

// tests are gonja's, mended where Python's differ.
func tests() *exec.TestSet {
	all := map[string]exec.TestFunction{
		"true": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
			return in.IsBool() && in.Bool(), nil
		},
		"false": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
			return in.IsBool() && !in.Bool(), nil
		},
		"sequence": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) { return in.IsIterable(), nil },
	}
	return exec.NewTestSet(make(map[string]exec.TestFunction)).Update(builtins.Tests).Update(exec.NewTestSet(all))
}

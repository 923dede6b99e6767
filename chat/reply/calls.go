package reply

import (
	"slices"
	"strings"
)

// beginCall passes over the opener and looks at what follows.
func (r *Reader) beginCall() {
	r.raw, r.begun, r.object = "", false, objectState{}
	if !slices.Contains([]string{"{", "["}, r.open.text) { // those are part of the JSON
		r.pass(len(r.open.text))
	}
	r.where = (*Reader).call
}

// pass cuts n bytes off and remembers them, as long as the call may turn out to be none.
func (r *Reader) pass(n int) string {
	s := r.take(n)
	if !r.begun {
		r.raw += s
	}
	return s
}

// skip passes over white space.
func (r *Reader) skip() { r.pass(len(r.buf) - len(strings.TrimLeft(r.buf, space))) }

// fail makes a call that is none text again; one that was told of ends where it is.
func (r *Reader) fail() bool {
	raw := r.raw
	r.where, r.trim, r.raw = (*Reader).text, false, ""
	if !r.begun {
		r.spoke = true
		r.give(Text, raw)
	}
	return true
}

// starve waits for more text; at the end there is none.
func (r *Reader) starve(final bool) bool {
	if !final {
		return false
	}
	r.fail()
	return r.buf != ""
}

// startsWith says whether prefix comes next; wait: that is not known yet.
func (r *Reader) startsWith(prefix string, final bool) (yes, wait bool) {
	if strings.HasPrefix(r.buf, prefix) {
		return true, false
	}
	return false, !final && strings.HasPrefix(prefix, r.buf)
}

// call decides by its first byte how a call is written.
func (r *Reader) call(final bool) bool {
	r.skip()
	if r.buf == "" {
		return r.starve(final)
	}
	json := r.buf[0] == '{' || r.buf[0] == '['
	switch r.open.form {
	case gemma:
		r.where = (*Reader).gemma
	case tagged:
		yes, wait := r.startsWith("<function=", final)
		switch {
		case json:
			r.where = (*Reader).objects
		case wait:
			return false
		case yes:
			r.where = (*Reader).tagged
		default:
			return r.fail()
		}
	case named:
		if r.where = (*Reader).named; json {
			r.where = (*Reader).objects
		}
	default:
		fence := "```json"
		yes, wait := r.startsWith(fence, final)
		switch {
		case json:
			r.where = (*Reader).objects
		case wait:
			return false
		case yes:
			r.pass(len(fence))
		default:
			return r.fail()
		}
	}
	return true
}

// maxName is the length of the longest name of a function, with what stands around it.
const maxName = 256

// separator stands between a kind of call and its name in DeepSeek's format.
const separator = "<｜tool▁sep｜>"

// named reads a name up to the arguments.
func (r *Reader) named(final bool) bool {
	if yes, wait := r.startsWith("all\n", final); r.open.text == ">>>" && (yes || wait) { // Functionary: to the user
		if wait {
			return false
		}
		r.take(len("all\n"))
		r.where, r.trim = (*Reader).text, false
		return true
	}
	at := strings.IndexByte(r.buf, '{')
	switch {
	case at < 0 && len(r.buf) < maxName:
		return r.starve(final)
	case at < 0 || at > maxName:
		return r.fail()
	}
	head := strings.TrimSuffix(strings.TrimRight(r.buf[:at], space), "```json")
	head = strings.TrimSpace(head)
	if kind, name, ok := strings.Cut(head, separator); ok {
		if head = kind; name != "" { // the older format says "function" first
			head = strings.TrimSpace(name)
		}
	}
	if r.open.after != "" {
		head = strings.TrimSuffix(head, strings.TrimSpace(r.open.after))
	}
	if !plainName(head) {
		return r.fail()
	}
	r.pass(at)
	r.give(Call, head)
	r.value = valueState{}
	r.where = (*Reader).arguments
	return true
}

// plainName says whether a text can be the name of a function.
func plainName(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_-.:/$", c) || c > 127)
	})
}

// arguments streams a JSON value.
func (r *Reader) arguments(bool) bool {
	r.give(Arguments, r.take(r.value.feed(r.buf)))
	if !r.value.done {
		return false
	}
	r.where = (*Reader).closing
	return true
}

// closing passes over what ends a call.
func (r *Reader) closing(final bool) bool {
	r.buf = strings.TrimLeft(r.buf, space)
	for _, end := range r.open.end {
		yes, wait := r.startsWith(end, final)
		if wait {
			return false
		}
		if yes {
			r.take(len(end))
			return true // perhaps there is another one
		}
	}
	r.where, r.trim = (*Reader).text, true
	return r.buf != ""
}

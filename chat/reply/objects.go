package reply

import (
	"encoding/json"
	"slices"
	"strings"
)

// objectState is how far a call that is written as a JSON object has been read.
type objectState struct {
	stage stage
	list  bool   // it stands in an array
	key   string // of the member under way
	name  string
	args  string // before the name is known, or a text that holds JSON
	text  bool   // the arguments are a JSON text
	some  bool   // arguments came
}

type stage uint8

const (
	stageStart stage = iota // of an object, or of an array of them
	stageKey
	stageColon
	stageValue
	stageArguments
	stageSkip
	stageNext // after an object
)

// objects reads calls such as {"name": "f", "arguments": {…}}, one or several.
func (r *Reader) objects(final bool) bool {
	o := &r.object
	if o.stage != stageArguments && o.stage != stageSkip {
		if r.skip(); r.buf == "" {
			return r.starveObject(final)
		}
	}
	switch o.stage {
	case stageStart:
		return r.objectStart()
	case stageKey:
		switch r.buf[0] {
		case ',':
			r.pass(1)
			return true
		case '}':
			r.pass(1)
			return r.objectEnd()
		}
		s, ok, wait := r.quoted(final)
		if wait {
			return false
		}
		if !ok {
			return r.fail()
		}
		o.key, o.stage = s, stageColon
	case stageColon:
		if r.buf[0] != ':' {
			return r.fail()
		}
		r.pass(1)
		o.stage = stageValue
	case stageValue:
		return r.objectValue(final)
	case stageArguments:
		return r.objectArguments(final)
	case stageSkip:
		r.pass(r.value.feed(r.buf))
		if !r.value.done {
			return r.starveObject(final)
		}
		o.stage = stageKey
	case stageNext:
		return r.objectNext()
	}
	return true
}

// starveObject waits; a call that is complete but for what follows it ends well.
func (r *Reader) starveObject(final bool) bool {
	if final && r.object.stage == stageNext {
		return false
	}
	return r.starve(final)
}

func (r *Reader) objectStart() bool {
	switch c := r.buf[0]; {
	case c == '[' && !r.object.list:
		r.object.list = true
		r.pass(1)
	case c == '{':
		r.pass(1)
		r.object = objectState{stage: stageKey, list: r.object.list}
	case c == ']' && r.object.list:
		r.pass(1)
		if r.raw == "[]" || !r.begun {
			return r.fail()
		}
		r.where = (*Reader).closing
	default:
		return r.fail()
	}
	return true
}

// quoted reads a JSON string.
func (r *Reader) quoted(final bool) (s string, ok, wait bool) {
	var v valueState
	n := v.feed(r.buf)
	if !v.done {
		return "", false, !final && r.buf[0] == '"'
	}
	if json.Unmarshal([]byte(r.buf[:n]), &s) != nil || r.buf[0] != '"' {
		return "", false, false
	}
	r.pass(n)
	return s, true, false
}

func (r *Reader) objectValue(final bool) bool {
	o := &r.object
	switch o.key {
	case "name", "tool_name", "function":
		s, ok, wait := r.quoted(final)
		if wait {
			return false
		}
		if !ok || !plainName(s) || (r.s.first && !r.known(s)) {
			return r.fail()
		}
		o.name, o.stage = s, stageKey
		return r.tell()
	case "arguments", "parameters":
		o.stage, o.text = stageArguments, r.buf[0] == '"'
	default:
		o.stage = stageSkip
	}
	r.value = valueState{}
	return true
}

func (r *Reader) known(name string) bool {
	return slices.ContainsFunc(r.tools, func(t Tool) bool { return t.Name == name })
}

// tell gives what is known of the call, as soon as there is a name and the arguments have begun.
func (r *Reader) tell() bool {
	o := &r.object
	if o.name == "" || !o.some {
		return true
	}
	if !r.begun {
		r.give(Call, o.name)
		r.raw = ""
	}
	if !o.text {
		r.give(Arguments, o.args)
		o.args = ""
	}
	return true
}

func (r *Reader) objectArguments(final bool) bool {
	o := &r.object
	chunk := r.pass(r.value.feed(r.buf))
	o.args, o.some = o.args+chunk, true
	r.tell()
	if !r.value.done {
		return r.starveObject(final)
	}
	if o.text {
		var s string
		if json.Unmarshal([]byte(strings.TrimSpace(o.args)), &s) != nil {
			return r.fail()
		}
		o.args, o.text = s, false
		r.tell()
	}
	o.stage = stageKey
	return true
}

func (r *Reader) objectEnd() bool {
	o := &r.object
	if o.name == "" {
		return r.fail()
	}
	if !o.some {
		o.args, o.some = "{}", true
	}
	r.tell()
	o.stage = stageNext
	return true
}

// objectNext sees whether another call follows.
func (r *Reader) objectNext() bool {
	o := &r.object
	c := r.buf[0]
	switch {
	case c == ']' && o.list:
		r.take(1)
		r.where = (*Reader).closing
	case c == ',' || c == ';':
		r.take(1)
		fallthrough
	case c == '{':
		r.begun, r.raw = false, ""
		r.object = objectState{list: o.list}
	default:
		r.where = (*Reader).closing
	}
	return true
}

// valueState follows one JSON value as it streams.
type valueState struct {
	depth   int
	inText  bool
	escaped bool
	scalar  bool
	done    bool
}

// feed returns how many bytes of s belong to the value.
func (v *valueState) feed(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case v.done:
			return i
		case v.escaped:
			v.escaped = false
		case v.inText:
			switch c {
			case '\\':
				v.escaped = true
			case '"':
				v.inText = false
				v.done = v.depth == 0
			}
		case v.scalar:
			if strings.IndexByte(",}] \n\r\t", c) >= 0 {
				v.done = true
				return i
			}
		case c == '"':
			v.inText = true
		case c == '{' || c == '[':
			v.depth++
		case c == '}' || c == ']':
			if v.depth--; v.depth <= 0 {
				v.done = true
				return i + min(1, v.depth+1)
			}
		case v.depth == 0 && strings.IndexByte(space, c) < 0:
			v.scalar = true
		}
	}
	return len(s)
}

package reply

import (
	"slices"
	"strings"
)

// Kind says what a Part is.
type Kind uint8

// The kinds of parts.
const (
	Text      Kind = iota
	Thought        // of the model, before it answers
	Call           // a tool call begins; Text is its name
	Arguments      // JSON text that continues a call's arguments
)

// Part is a piece of an answer. Neighbours of one kind belong together.
type Part struct {
	Kind Kind
	Text string
	Call int // index of the call that a Call or Arguments is about
}

// Tool is what a reader must know of a function that the model may call.
type Tool struct {
	Name  string
	Texts []string // parameters that are texts, for styles that do not quote them
}

// Reader reads one answer. Not safe for concurrent use.
type Reader struct {
	s     Style
	tools []Tool
	calls bool // calls are looked for

	buf   string
	parts []Part
	where func(r *Reader, final bool) bool // reads on; false: it needs more text

	spoke bool // something other than white space was said, or a call made
	trim  bool // white space that comes next is dropped
	count int  // calls begun

	open   opener // of the call under way
	begun  bool   // it was told of
	raw    string // its text so far, should it turn out to be none
	object objectState
	value  valueState // arguments that stream
}

// NewReader begins an answer. Without tools, calls are text like any other.
func NewReader(s Style, tools []Tool) *Reader {
	r := &Reader{s: s, tools: tools, calls: len(tools) > 0, where: (*Reader).text}
	r.buf, r.trim = s.Begun, s.Begun != ""
	return r
}

// Push adds text and returns what is certain by now.
func (r *Reader) Push(text string) []Part {
	r.buf += text
	return r.read(false)
}

// Finish returns the rest.
func (r *Reader) Finish() []Part { return r.read(true) }

func (r *Reader) read(final bool) []Part {
	r.parts = nil
	for r.where(r, final) {
	}
	return r.parts
}

func (r *Reader) give(k Kind, text string) {
	if text == "" && k != Call {
		return
	}
	if k == Call {
		r.count++
		r.spoke, r.begun = true, true
	}
	if n := len(r.parts); n > 0 && k != Call && r.parts[n-1].Kind == k {
		r.parts[n-1].Text += text
		return
	}
	r.parts = append(r.parts, Part{Kind: k, Text: text, Call: max(0, r.count-1)})
}

// take cuts n bytes off what is unread.
func (r *Reader) take(n int) string {
	s := r.buf[:n]
	r.buf = r.buf[n:]
	return s
}

// markers that end plain text here.
func (r *Reader) markers() []string {
	var m []string
	if r.s.think != "" && !r.spoke {
		m = append(m, r.s.think)
	}
	if !r.calls {
		return m
	}
	m = append(m, r.s.ignore...)
	if !r.s.first || !r.spoke {
		for _, o := range r.s.calls {
			m = append(m, o.text)
		}
	}
	return m
}

const space = " \n\r\t"

// text reads plain text up to the next marker.
func (r *Reader) text(final bool) bool {
	markers := r.markers()
	at, which := find(r.buf, markers)
	if at >= 0 && markers[which] == r.s.think && strings.TrimSpace(r.buf[:at]) != "" {
		markers = slices.DeleteFunc(markers, func(m string) bool { return m == r.s.think }) // thoughts come first, or not at all
		at, which = find(r.buf, markers)
	}
	if at >= 0 && r.s.first && r.calls && strings.TrimSpace(r.buf[:at]) != "" {
		at = -1 // too late: it is not the beginning
	}
	if at < 0 {
		r.say(r.take(len(r.buf) - r.keep(markers, final)))
		return false
	}
	marker, before := markers[which], r.take(at)
	if marker == r.s.think { // spoke is false: only white space came before
		r.take(len(marker))
		r.where, r.trim = (*Reader).thoughts, true
		return true
	}
	r.say(strings.TrimRight(before, space))
	if slices.Contains(r.s.ignore, marker) {
		r.take(len(marker))
		r.trim = true
		return true
	}
	for _, o := range r.s.calls {
		if o.text == marker {
			r.open = o
		}
	}
	r.beginCall()
	return true
}

// keep is how many bytes at the end of what is unread are not certain to be text.
func (r *Reader) keep(markers []string, final bool) int {
	if final {
		return 0
	}
	keep := partial(r.buf, markers)
	if r.calls || (r.s.think != "" && !r.spoke) { // white space before a call, or before thoughts, is not part of the text
		keep = len(r.buf) - len(strings.TrimRight(r.buf[:len(r.buf)-keep], space))
	}
	return keep
}

// say gives text.
func (r *Reader) say(s string) {
	if r.trim {
		if s = strings.TrimLeft(s, space); s == "" {
			return
		}
		r.trim = false
	}
	if strings.TrimSpace(s) != "" {
		r.spoke = true
	}
	r.give(Text, s)
}

// thoughts reads up to the end of the thoughts.
func (r *Reader) thoughts(final bool) bool {
	end := strings.Index(r.buf, r.s.thought)
	at := end
	if at < 0 {
		at = len(r.buf)
		if !final {
			at -= partial(r.buf, []string{r.s.thought})
			at = len(strings.TrimRight(r.buf[:at], space))
		}
	}
	s := r.take(at)
	if end >= 0 {
		s = strings.TrimRight(s, space)
	}
	if r.trim {
		s = strings.TrimLeft(s, space)
		r.trim = s == ""
	}
	r.give(Thought, s)
	if end < 0 {
		return false
	}
	r.take(len(r.s.thought))
	r.where, r.trim = (*Reader).text, true
	return true
}

// find returns the first place of any marker, the longest marker there.
func find(s string, markers []string) (at, which int) {
	at = -1
	for i, m := range markers {
		k := strings.Index(s, m)
		if k >= 0 && (at < 0 || k < at || (k == at && len(m) > len(markers[which]))) {
			at, which = k, i
		}
	}
	return at, which
}

// partial is the length of the longest end of s that may become a marker.
func partial(s string, markers []string) int {
	keep := 0
	for _, m := range markers {
		for n := min(len(m)-1, len(s)); n > keep; n-- {
			if strings.HasSuffix(s, m[:n]) {
				keep = n
				break
			}
		}
	}
	return keep
}

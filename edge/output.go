package edge

import (
	"strings"

	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// output turns decided tokens into events: whole characters only, cut before a stop string, with
// text that may become one held back. What is not taken yet gathers in one event.
type output struct {
	tok     *tokenizer.Tokenizer // nil: no text
	stream  *tokenizer.Stream
	trim    bool
	stop    []string
	held    string  // may become a stop string
	recent  []Token // the last tokens, for the context of pending text
	total   int
	stopped bool // a stop string was met: no text follows
	next    Event
	dirty   bool // next holds something new
}

// newOutput begins at the end of the prompt; start says that the answer begins a text of its own.
func newOutput(t *tokenizer.Tokenizer, stop []string, start bool) *output {
	o := &output{tok: t, stop: stop, trim: start}
	if t != nil {
		o.stream = t.NewStream(start)
	}
	return o
}

// A character has at most four bytes, so pending text depends on at most this many tokens before it.
const recentTokens = 4

// push adds one decided token. silent: an end token, which has no text.
func (o *output) push(t GeneratedToken, silent bool) {
	if o.stream != nil && !silent {
		t.Text = o.text(o.stream.Push(t.ID))
		if len(o.recent) == recentTokens {
			copy(o.recent, o.recent[1:])
			o.recent = o.recent[:recentTokens-1]
		}
		o.recent = append(o.recent, t.ID)
	}
	o.total++
	o.next.Tokens = append(o.next.Tokens, t)
	o.dirty = true
}

// verified notes that the target confirmed the first n tokens.
func (o *output) verified(n int) { o.next.Verified, o.dirty = n, true }

// text passes new text through the stop filter.
func (o *output) text(s string) string {
	if o.stopped {
		return ""
	}
	o.held += s
	if i := speculative.StopIndex([]byte(o.held), o.stop); i >= 0 {
		s, o.held, o.stopped = o.held[:i], "", true
		return s
	}
	keep := 0
	for _, stop := range o.stop {
		for n := min(len(stop)-1, len(o.held)); n > keep; n-- {
			if strings.HasSuffix(o.held, stop[:n]) {
				keep = n
			}
		}
	}
	s, o.held = o.held[:len(o.held)-keep], o.held[len(o.held)-keep:]
	return s
}

// finish gives out what was held back.
func (o *output) finish() {
	o.pending("")
	if o.stream == nil || o.stopped {
		return
	}
	rest := o.held + o.stream.Flush()
	o.held = ""
	if rest == "" {
		return
	}
	if n := len(o.next.Tokens); n > 0 {
		o.next.Tokens[n-1].Text += rest
		return
	}
	o.next.Tail, o.dirty = rest, true
}

// expect shows what the draft expects next.
func (o *output) expect(tokens []Token) {
	if o.stream == nil || o.stopped {
		o.pending("")
		return
	}
	s := o.tok.NewStream(o.trim && len(o.recent) == 0)
	for _, t := range o.recent {
		s.Push(t)
	}
	text := o.held
	for _, t := range tokens {
		text += s.Push(t)
	}
	if i := speculative.StopIndex([]byte(text), o.stop); i >= 0 {
		text = text[:i]
	}
	o.pending(text)
}

func (o *output) pending(text string) {
	if o.next.Pending != text {
		o.next.Pending, o.dirty = text, true
	}
}

// taken begins the next event after next was handed out.
func (o *output) taken() {
	o.next = Event{Pending: o.next.Pending}
	o.dirty = false
}

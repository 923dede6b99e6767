package edge

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/edge/privacy"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Privacy says what becomes of a request that holds personal data. Each value is stricter than the one
// before it.
type Privacy uint8

// The values of Privacy are those of the wire.
const (
	PrivacyDefault      Privacy = iota // the edge's configuration decides
	PrivacyOff                         // nobody looks
	PrivacyPlaceholders                // placeholders go up, the data is put back on the way down
	PrivacyOnDevice                    // the request stays on the device
)

// ParsePrivacy reads off, placeholders or on_device; the empty word is PrivacyDefault.
func ParsePrivacy(s string) (Privacy, error) {
	for p := PrivacyDefault; p <= PrivacyOnDevice; p++ {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, requestError("privacy %q is unknown: use off, placeholders or on_device", s)
}

func (p Privacy) String() string {
	return [...]string{"", "off", "placeholders", "on_device"}[min(p, PrivacyOnDevice)]
}

// Personal tells what was found in a request and done about it.
type Personal struct {
	Action Privacy
	Found  map[privacy.Kind]int // findings by kind
}

// privacy sets the defaults of the policy.
func (c *Config) privacy() (err error) {
	c.Privacy = cmp.Or(c.Privacy, PrivacyOff)
	if c.Detector == nil {
		c.Detector, err = privacy.New(privacy.Config{})
	}
	return err
}

// Personal looks for personal data in a request: what it asks, and all else that would leave the device
// with it.
func (e *Edge) Personal(r *Request) map[privacy.Kind]int {
	found := map[privacy.Kind]int{}
	for _, t := range texts(r) {
		for _, f := range e.c.Detector.Detect(t) {
			found[f.Kind]++
		}
	}
	return found
}

// protect applies the policy. What it returns is asked instead of r; emit is wrapped so that it hears the
// data again, and end tells it what is left of the text.
func (e *Edge) protect(r Request, emit func(Event) error) (_ Request, _ func(Event) error, end func() error, p Personal, err error) {
	end = func() error { return nil }
	p.Action = max(r.Privacy, e.c.Privacy) // a request can only make it stricter
	mode := e.modeOf(&r)
	if mode == ModeOnlyOnDevice || p.Action < PrivacyPlaceholders && mode != ModeAuto {
		return r, emit, end, p, nil
	}
	p.Found = e.Personal(&r)
	r.personal = p.Found
	switch {
	case len(p.Found) == 0 || p.Action < PrivacyPlaceholders:
		return r, emit, end, p, nil
	case p.Action == PrivacyOnDevice:
		return r, emit, end, p, e.keep(&r, mode)
	}
	if err := unreplaceable(e.c.Detector, &r); err != nil {
		return r, emit, end, p, err
	}
	red := e.c.Detector.Redactor(texts(&r)...)
	r = redacted(r, red)
	back := red.Restorer()
	wrapped := func(ev Event) error { return emit(restored(ev, back)) }
	end = func() error {
		if rest := back.Flush(); rest != "" {
			return emit(Event{Tail: rest})
		}
		return nil
	}
	return r, wrapped, end, p, nil
}

// keep makes a request one that stays on the device.
func (e *Edge) keep(r *Request, mode Mode) error {
	kinds := strings.Join(kindsOf(r.personal), ", ")
	switch {
	case mode == ModeOnlyInCloud:
		return deviceError("personal data (%s) stays on the device, but the mode asks for the cloud: use another mode, or privacy placeholders", kinds)
	case e.c.Draft == nil:
		return deviceError("personal data (%s) stays on the device, but this edge has no draft model: name one (edge.draft), or use privacy placeholders", kinds)
	}
	r.Mode, r.why = ModeOnlyOnDevice, "personal data stays on the device: "+kinds
	return nil
}

// kindsOf are the kinds that were found, in order.
func kindsOf(found map[privacy.Kind]int) []string {
	out := []string{}
	for _, k := range slices.Sorted(maps.Keys(found)) {
		out = append(out, string(k))
	}
	return out
}

// texts are all parts of a request that go up as they are.
func texts(r *Request) []string {
	read := func(s string) string {
		if looksJSON(s) {
			return plainJSON([]byte(s))
		}
		return s
	}
	out := append([]string{r.Prompt, read(r.Prediction)}, r.Stop...)
	for _, m := range r.Messages {
		out = append(out, read(m.Content), m.Reasoning, m.Name)
		for _, c := range m.ToolCalls {
			out = append(out, plainJSON(c.Arguments))
		}
	}
	for _, t := range r.Tools {
		out = append(out, plainJSON(t))
	}
	for _, v := range r.Variables {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	if c := r.Constraint; c != nil && c.Kind == "regex" {
		out = append(out, strings.ReplaceAll(c.Source, `\`, ""))
	} else if c != nil {
		out = append(out, plainJSON([]byte(c.Source)))
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// plainJSON is a JSON text with its strings as they read, so that an escape hides nothing.
func plainJSON(raw []byte) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	var b strings.Builder
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			b.WriteString(v)
			b.WriteByte('\n')
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				b.WriteString(k)
				b.WriteByte('\n')
				walk(v[k])
			}
		}
	}
	walk(v)
	return b.String()
}

// unreplaceable refuses what cannot carry a placeholder: a regular expression that spells personal data.
func unreplaceable(d *privacy.Detector, r *Request) error {
	if r.Constraint == nil || r.Constraint.Kind != "regex" {
		return nil
	}
	if f := d.Detect(strings.ReplaceAll(r.Constraint.Source, `\`, "")); len(f) > 0 {
		return requestError("the regex holds personal data (%s), which no placeholder can stand for: keep the request on the device (mode only_on_device)", f[0].Kind)
	}
	return nil
}

// unseen refuses a prompt in tokens that holds personal data, as only text can be given placeholders.
func (e *Edge) unseen(r *Request, t *tokenizer.Tokenizer) error {
	if len(r.Tokens) == 0 || t == nil || max(r.Privacy, e.c.Privacy) < PrivacyPlaceholders {
		return nil
	}
	if f := e.c.Detector.Detect(t.Decode(r.Tokens)); len(f) > 0 {
		return requestError("the prompt in tokens holds personal data (%s): give it as text, so that it can be kept back", f[0].Kind)
	}
	return nil
}

// redacted is the request with placeholders. The caller's slices stay as they are.
func redacted(r Request, red *privacy.Redactor) Request {
	// What a conversation begins with comes first, so that its next turn gives out the same numbers.
	r.Tools = slices.Clone(r.Tools)
	for i := range r.Tools {
		r.Tools[i] = red.RedactJSON(r.Tools[i])
	}
	r.Variables = maps.Clone(r.Variables)
	for _, k := range slices.Sorted(maps.Keys(r.Variables)) {
		if s, ok := r.Variables[k].(string); ok {
			r.Variables[k] = red.Redact(s)
		}
	}
	r.Prompt = red.Redact(r.Prompt)
	r.Messages = slices.Clone(r.Messages)
	for i := range r.Messages {
		m := &r.Messages[i]
		m.Content, m.Reasoning, m.Name = redactAny(red, m.Content), red.Redact(m.Reasoning), red.Redact(m.Name)
		m.ToolCalls = slices.Clone(m.ToolCalls)
		for k := range m.ToolCalls {
			m.ToolCalls[k].Arguments = red.RedactJSON(m.ToolCalls[k].Arguments)
		}
	}
	r.Prediction = redactAny(red, r.Prediction)
	r.Stop = slices.Clone(r.Stop)
	for i := range r.Stop {
		r.Stop[i] = red.Redact(r.Stop[i])
	}
	if r.Constraint != nil && r.Constraint.Kind != "regex" {
		c := *r.Constraint
		c.Source = string(red.RedactJSON([]byte(c.Source)))
		r.Constraint = &c
	}
	return r
}

// redactAny also reads text that is JSON, as tools answer it, through its escapes.
func redactAny(red *privacy.Redactor, s string) string {
	if looksJSON(s) {
		return string(red.RedactJSON([]byte(s)))
	}
	return red.Redact(s)
}

func looksJSON(s string) bool {
	t := strings.TrimSpace(s)
	return t != "" && (t[0] == '{' || t[0] == '[') && json.Valid([]byte(t))
}

// restored is an event with the data in place of placeholders. Text that may become one waits for the next.
func restored(ev Event, back *privacy.Restorer) Event {
	for i := range ev.Tokens {
		ev.Tokens[i].Text = back.Feed(ev.Tokens[i].Text)
	}
	if ev.Tail != "" {
		ev.Tail = back.Feed(ev.Tail) + back.Flush()
	}
	if ev.Pending != "" {
		ev.Pending = back.Whole(ev.Pending)
	}
	return ev
}

func personalToProto(p Personal) *outriderv1.Personal {
	m := &outriderv1.Personal{Action: outriderv1.Privacy(p.Action), Found: map[string]uint32{}}
	for k, n := range p.Found {
		m.Found[string(k)] = uint32(min(n, 1<<30)) //nolint:gosec // bounded
	}
	return m
}

func personalFromProto(m *outriderv1.Personal) Personal {
	p := Personal{Action: Privacy(min(max(m.GetAction(), 0), 255)), Found: map[privacy.Kind]int{}}
	for k, n := range m.GetFound() {
		p.Found[privacy.Kind(k)] = int(n)
	}
	return p
}

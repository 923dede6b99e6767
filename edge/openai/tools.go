package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/tokenizer"
)

// toolset is what a request says of the functions that the model may call.
type toolset struct {
	raw     []json.RawMessage // as templates take them
	tools   []reply.Tool
	schemas map[string]json.RawMessage // of the arguments, by name
	strict  bool                       // at least one function wants its arguments to fit
	must    bool                       // the answer is a call
	only    string                     // of this function; empty: any
	several bool                       // more than one call may be made
}

// maxTools is OpenAI's bound.
const maxTools = 128

// readTools reads tools and tool_choice; flat: a function's fields stand beside its type (responses).
func readTools(o *object, flat bool) *toolset {
	t := &toolset{schemas: map[string]json.RawMessage{}, several: o.flag("parallel_tool_calls", true)}
	for i, raw := range o.list("tools", maxTools) {
		e := o.element(at("tools", i), raw)
		if kind := e.must("type"); kind != "function" {
			e.fail("type", "unsupported_tool", "'%stype' is %.40q: this edge knows functions only", e.path, kind)
		}
		f := e
		if !flat {
			if !e.has("function") {
				e.fail("function", "missing_required_parameter", "missing required parameter: '%sfunction'", e.path)
			}
			f = e.sub("function")
		}
		if *o.err != nil {
			return t
		}
		t.add(f)
	}
	t.choose(o, flat)
	return t
}

// add takes a function.
func (t *toolset) add(f *object) {
	name := f.must("name")
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) {
		f.fail("name", "invalid_value", "'%sname' is %.80q: at most 64 letters, digits, - and _ are allowed", f.path, name)
	}
	if _, twice := t.schemas[name]; twice {
		f.fail("name", "invalid_value", "'%sname': there are two functions %s", f.path, name)
	}
	description := f.text("description")
	schema := json.RawMessage(`{"type":"object","properties":{}}`)
	props := f.sub("parameters").sub("properties")
	if f.has("parameters") {
		schema = f.m["parameters"]
	}
	strict := f.flag("strict", false)
	if *f.err != nil {
		return
	}
	tool := reply.Tool{Name: name}
	for key, raw := range props.m {
		var p struct{ Type any }
		if json.Unmarshal(raw, &p) == nil && p.Type == "string" {
			tool.Texts = append(tool.Texts, key)
		}
	}
	t.tools, t.schemas[name], t.strict = append(t.tools, tool), schema, t.strict || strict
	t.raw = append(t.raw, ordered(name, description, schema))
}

// ordered writes a function with its members in the order that templates show.
func ordered(name, description string, schema json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	b.WriteString(`{"type":"function","function":{"name":` + quote(name))
	if description != "" {
		b.WriteString(`,"description":` + quote(description))
	}
	b.WriteString(`,"parameters":`)
	b.Write(schema)
	b.WriteString("}}")
	return b.Bytes()
}

// quote writes a JSON string.
func quote(s string) string {
	var b bytes.Buffer
	_ = encode(&b, s) // a string never fails
	return strings.TrimSpace(b.String())
}

// choose reads tool_choice.
func (t *toolset) choose(o *object, flat bool) {
	if !o.has("tool_choice") || *o.err != nil {
		return
	}
	mode := ""
	if kindOf(o.m["tool_choice"]) == "a string" {
		mode = o.text("tool_choice")
	}
	c := &object{}
	if mode == "" {
		c = o.sub("tool_choice")
		if kind := c.must("type"); kind != "function" {
			c.fail("type", "unsupported_tool", "'%stype' is %.40q, must be function", c.path, kind)
		}
		if !flat {
			c = c.sub("function")
		}
		t.only, t.must = c.must("name"), true
	}
	switch mode {
	case "", "auto":
	case "none":
		*t = toolset{}
		return
	case "required":
		t.must = true
	default:
		o.fail("tool_choice", "invalid_value", "'%stool_choice' is %.40q, must be none, auto, required or a function", o.path, mode)
	}
	if t.must && len(t.tools) == 0 {
		o.fail("tool_choice", "invalid_value", "'%stool_choice' asks for a call, but there are no tools", o.path)
	}
	if _, ok := t.schemas[t.only]; t.only != "" && !ok && *o.err == nil {
		c.fail("name", "invalid_value", "'%sname' is %.80q: there is no such function in tools", c.path, t.only)
	}
}

// call is the schema of {"name": …, "arguments": …} for one function.
func (t *toolset) call(name string) string {
	return `{"type":"object","properties":{"name":{"const":` + quote(name) + `},"arguments":` + string(t.schemas[name]) +
		`},"required":["name","arguments"],"additionalProperties":false}`
}

// calls is the schema of an answer that is a call.
func (t *toolset) calls() string {
	if t.only != "" {
		return t.call(t.only)
	}
	each := make([]string, len(t.tools))
	for i, f := range t.tools {
		each[i] = t.call(f.Name)
	}
	one := each[0]
	if len(each) > 1 {
		one = `{"anyOf":[` + strings.Join(each, ",") + `]}`
	}
	if !t.several {
		return one
	}
	return `{"type":"array","minItems":1,"items":` + one + `}`
}

// apply puts the tools into a job whose answers the model writes in a style.
func (t *toolset) apply(j *job, style reply.Style) {
	j.style = style
	if t == nil || len(t.tools) == 0 {
		return
	}
	j.r.Tools, j.tools = t.raw, t.tools
	switch {
	case t.must:
		j.style = reply.Plain()
		j.r.Constraint = &edge.Constraint{Kind: "json_schema", Source: t.calls()}
	case t.strict && j.r.Constraint == nil:
		if source := style.StructuralTag(t.schemas, t.several); source != "" {
			j.r.Constraint = &edge.Constraint{Kind: "structural_tag", Source: source}
		}
	}
}

// format reads response_format, or text.format where fields stand flat.
func (o *object) format(name string, flat bool) *edge.Constraint {
	if !o.has(name) {
		return nil
	}
	f := o.sub(name)
	switch kind := f.must("type"); kind {
	case "text":
		return nil
	case "json_object":
		return &edge.Constraint{Kind: "json_object"}
	case "json_schema":
		s := f
		if !flat {
			s = f.sub("json_schema")
		}
		s.sub("schema") // an object, if it is there
		if !s.has("schema") {
			s.fail("schema", "missing_required_parameter", "missing required parameter: '%sschema'", s.path)
			return nil
		}
		return &edge.Constraint{Kind: "json_schema", Source: string(s.m["schema"])}
	default:
		f.fail("type", "invalid_value", "'%stype' is %.40q, must be text, json_object or json_schema", f.path, kind)
		return nil
	}
}

// structured reads vLLM's structured_outputs: one of json, json_object, regex, choice, structural_tag.
func (o *object) structured(name string) *edge.Constraint {
	s := o.sub(name)
	if s.has("grammar") {
		s.fail("grammar", "unsupported_parameter", "'%sgrammar' is not supported: use json, regex, choice or structural_tag", s.path)
	}
	for _, old := range []string{"guided_json", "guided_regex", "guided_choice", "guided_grammar", "grammar"} {
		if o.has(old) { // an answer without its constraint would be worse than none
			o.fail(old, "unsupported_parameter", "'%s' is not supported: use structured_outputs with json, regex, choice or structural_tag", old)
		}
	}
	var c *edge.Constraint
	for _, kind := range []string{"json", "json_object", "regex", "choice", "structural_tag"} {
		if !s.has(kind) {
			continue
		}
		if c != nil {
			s.fail(kind, "invalid_value", "'%s%s': give one kind of constraint", s.path, kind)
		}
		c = &edge.Constraint{Kind: kind, Source: string(s.m[kind])}
		switch kind {
		case "json":
			c.Kind = "json_schema"
			s.textOr(kind, &c.Source)
		case "json_object":
			if c.Source = ""; !s.flag(kind, true) {
				c = nil
			}
		case "regex":
			c.Source = s.text(kind)
		case "choice":
			s.texts(kind, 1000)
		case "structural_tag":
			s.textOr(kind, &c.Source)
		}
	}
	return c
}

// textOr replaces a source by the text that a string holds.
func (o *object) textOr(name string, source *string) {
	if kindOf(o.m[name]) == "a string" {
		*source = o.text(name)
	}
}

// constrained notes the constraint of an answer that is not a call.
func (s *server) constrained(o *object, j *job, t *toolset, formats ...*edge.Constraint) {
	for _, c := range formats {
		switch {
		case c == nil:
		case j.r.Constraint != nil:
			o.fail("structured_outputs", "invalid_value", "give response_format or structured_outputs, not both")
		case t != nil && t.must:
			o.fail("tool_choice", "invalid_value", "'%stool_choice' asks for a call and response_format for something else: give one of them", o.path)
		default:
			j.r.Constraint = c
		}
	}
}

// callID makes the identifier of a call; Mistral's templates take those of nine characters only.
func (s *server) callID(style string) string {
	if style == "mistral" {
		id := s.newID("")
		return id[max(0, len(id)-9):]
	}
	return s.newID("call_")
}

// markers are the style's markers that are control tokens, which have no text of their own.
func markers(style reply.Style, t *tokenizer.Tokenizer) map[int32]string {
	out := map[int32]string{}
	if t == nil {
		return out
	}
	for _, m := range style.Markers() {
		if k, ok := t.ID(m); ok && t.IsControl(k) {
			out[k] = m
		}
	}
	return out
}

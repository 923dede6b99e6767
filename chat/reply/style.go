// Package reply reads what a model answers: it tells thoughts, text and tool calls apart, as they
// stream, for the formats that model families were trained to write. It is pure: text goes in,
// parts come out.
package reply

import (
	"strings"
)

// Style is how a model writes thoughts and tool calls.
type Style struct {
	Name  string
	Begun string // what the prompt has already opened: <think>, >>>

	think, thought string   // around thoughts; empty: none
	calls          []opener // what begins a call
	first          bool     // only at the beginning of the answer
	ignore         []string // markers that mean nothing to a reader
}

// opener is a text that begins one call, or a list of them.
type opener struct {
	text  string
	form  form
	after string   // ends the name, of form named
	end   []string // markers to pass over after a call
}

// form is how a call is written after its opener.
type form uint8

const (
	objects form = iota // {"name": …, "arguments": {…}}, one or several, perhaps in a list
	named               // the name, then its arguments as JSON
	tagged              // <function=…><parameter=…>…, or an object
	gemma               // call:name{key:<|"|>text<|"|>}
)

// Hermes is the style of models that were told to write <tool_call>{…}</tool_call>, and that of models
// whose templates know no tools.
func Hermes() Style {
	return Style{Name: "hermes", think: "<think>", thought: "</think>",
		calls: []opener{{text: "<tool_call>", form: tagged, end: []string{"</tool_call>"}}}}
}

// Plain is the style of an answer that is one call, or a list of calls, as JSON and nothing else:
// what a grammar makes of any model.
func Plain() Style {
	return Style{Name: "plain", calls: []opener{{text: "[", form: objects}, {text: "{", form: objects}}, first: true}
}

// StyleOf recognises the style by what a chat template writes itself.
func StyleOf(template string) Style {
	has := func(s string) bool { return strings.Contains(template, s) }
	s := Style{think: "<think>", thought: "</think>"}
	set := func(name string, o ...opener) Style {
		s.Name, s.calls = name, o
		return s
	}
	switch {
	case has("<｜tool▁calls▁begin｜>"):
		s.ignore = []string{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"}
		return set("deepseek", opener{text: "<｜tool▁call▁begin｜>", form: named, end: []string{"```", "<｜tool▁call▁end｜>"}})
	case has("<|START_ACTION|>"):
		s.think, s.thought = "<|START_THINKING|>", "<|END_THINKING|>"
		s.ignore = []string{"<|START_RESPONSE|>", "<|END_RESPONSE|>"}
		return set("command-r7b", opener{text: "<|START_ACTION|>", form: objects, end: []string{"<|END_ACTION|>"}})
	case has("<|tool_call>"):
		s.think, s.thought = "<|channel>thought\n", "<channel|>"
		return set("gemma", opener{text: "<|tool_call>", form: gemma, end: []string{"<tool_call|>"}})
	case has(">>>all"), has(">>>' + "), has("'>>>"), has(`">>>`):
		return set("functionary-v3.2", opener{text: ">>>", form: named, after: "\n"})
	case has("<tool_call>"):
		return Hermes()
	case has("<function="):
		return set("functionary-v3.1", opener{text: "<function=", form: named, after: ">", end: []string{"</function>"}})
	case has("[TOOL_CALLS]"):
		s.think, s.thought = "[THINK]", "[/THINK]"
		return set("mistral", opener{text: "[TOOL_CALLS]", form: named, after: "[ARGS]"})
	case has("functools["):
		return set("firefunction", opener{text: "functools", form: objects})
	case has("<|python_tag|>"), has("ipython"):
		s.first = true
		return set("llama", opener{text: "<|python_tag|>", form: objects}, opener{text: "{", form: objects})
	case has("Action:"):
		return set("command-r", opener{text: "Action:", form: objects, end: []string{"```"}})
	}
	return Hermes()
}

// Untaught is the style of a model whose template knows no tools, and which is told of them in words.
func Untaught(template string) Style {
	s, h := StyleOf(template), Hermes()
	h.think, h.thought = s.think, s.thought
	return h
}

// Markers are the texts that mean something in this style. Those that are control tokens have no text
// of their own: their pieces must be pushed in their place.
func (s *Style) Markers() []string {
	out := append([]string(nil), s.ignore...)
	for _, m := range []string{s.think, strings.TrimSuffix(s.think, "thought\n"), s.thought, "<|\"|>", "<｜tool▁sep｜>", "[ARGS]"} {
		if m != "" {
			out = append(out, m)
		}
	}
	for _, o := range s.calls {
		out = append(append(out, o.text), o.end...)
	}
	return out
}

// Opened returns the style for an answer to a prompt that ends like this.
func (s Style) Opened(prompt string) Style {
	tail := strings.TrimRight(prompt, " \n")
	for _, o := range s.calls {
		if o.form == named && strings.HasSuffix(tail, o.text) {
			s.Begun = o.text
		}
	}
	if s.think != "" && strings.HasSuffix(tail, strings.TrimRight(s.think, "\n")) {
		s.Begun = s.think
	}
	return s
}

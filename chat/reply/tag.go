package reply

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// structuralTag is the constraint as XGrammar and vLLM define it.
type structuralTag struct {
	Triggers []string `json:"triggers"`
	Tags     []tag    `json:"tags"`
	AtLeast  bool     `json:"at_least_one"`
	Stop     bool     `json:"stop_after_first"`
}

type tag struct {
	Begin  string          `json:"begin"`
	Schema json.RawMessage `json:"schema"`
	End    string          `json:"end"`
}

// StructuralTag is the constraint under which the model's calls, should it make any, have arguments
// that fit their schemas: free text up to what begins a call, then the call. Empty: there is none for
// this style, which does not write arguments as JSON.
func (s *Style) StructuralTag(schemas map[string]json.RawMessage, several bool) string {
	trigger, begin, end := s.brackets()
	if trigger == "" {
		return ""
	}
	t := structuralTag{Triggers: []string{trigger}, Stop: !several}
	names := make([]string, 0, len(schemas))
	for name := range schemas {
		names = append(names, name)
	}
	slices.Sort(names) // so that equal requests have equal grammars
	for _, name := range names {
		t.Tags = append(t.Tags, tag{Begin: begin(name), Schema: schemas[name], End: end})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(t) != nil {
		return "" // schemas came as JSON
	}
	return strings.TrimSpace(b.String())
}

// brackets are what stands around a call's arguments, and what it is recognised by.
func (s *Style) brackets() (trigger string, begin func(name string) string, end string) {
	between := func(a, b string) func(string) string { return func(name string) string { return a + name + b } }
	switch s.Name {
	case "hermes":
		return "<tool_call>", between("<tool_call>\n{\"name\": \"", "\", \"arguments\": "), "}\n</tool_call>"
	case "llama":
		return `{"name": "`, between(`{"name": "`, `", "parameters": `), "}"
	case "mistral":
		return "[TOOL_CALLS]", between(`[TOOL_CALLS][{"name": "`, `", "arguments": `), "}]"
	case "deepseek":
		return "<｜tool▁calls▁begin｜>", between("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n"), "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
	case "functionary-v3.1":
		return "<function=", between("<function=", ">"), "</function>"
	case "firefunction":
		return "functools[", between(`functools[{"name": "`, `", "arguments": `), "}]"
	case "command-r7b":
		return "<|START_ACTION|>", between("<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"", "\", \"parameters\": "), "}\n]<|END_ACTION|>"
	}
	return "", nil, ""
}

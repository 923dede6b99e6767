package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// TakesTools says whether the template tells the model which tools there are, whatever a conversation
// says.
func (t *Template) TakesTools(ctx context.Context, variables map[string]any) bool {
	const needle = "needle__"
	c := Conversation{Messages: []Message{{Role: "user", Content: "x"}}, Generate: true, Variables: variables,
		Tools: []json.RawMessage{json.RawMessage(`{"type":"function","function":{"name":"` + needle +
			`","description":"d","parameters":{"type":"object","properties":{"p":{"type":"string","description":"d"}},"required":["p"]}}}`)}}
	out, err := t.render(ctx, c, func(_, s string) string { return s }, false)
	return err == nil && strings.Contains(out, needle)
}

// Opening is what the template writes before the model's answer, or the end of it.
func (t *Template) Opening(ctx context.Context, variables map[string]any) (string, error) {
	c := Conversation{Messages: []Message{{Role: "user", Content: "x"}}, Generate: true, Variables: variables}
	out, err := t.render(ctx, c, func(_, s string) string { return s }, false)
	return out[max(0, len(out)-200):], err
}

// WithoutTools writes a conversation's tools, calls and results into its texts, for templates that know
// none of them. Models read and write them as Hermes models do (<tool_call>).
func WithoutTools(c Conversation) Conversation {
	plain := c
	plain.Tools, plain.Messages = nil, nil
	if len(c.Tools) > 0 {
		plain.Messages = []Message{{Role: "system", Content: toolsText(c.Tools)}}
	}
	for _, m := range c.Messages {
		n := Message{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning}
		for _, call := range m.ToolCalls {
			n.Content = paragraph(n.Content, callText(call))
		}
		if m.Role == "tool" {
			n = Message{Role: "user", Content: "<tool_response>\n" + m.Content + "\n</tool_response>"}
		}
		last := len(plain.Messages) - 1
		if last >= 0 && plain.Messages[last].Role == n.Role && (n.Role == "system" || m.Role == "tool") { // templates want turns to alternate
			p := &plain.Messages[last]
			if n.Role == "system" { // what people wrote comes before the tools
				n.Content, p.Content = p.Content, n.Content
			}
			p.Content = paragraph(p.Content, n.Content)
			continue
		}
		plain.Messages = append(plain.Messages, n)
	}
	return plain
}

// paragraph puts one text below another.
func paragraph(a, b string) string {
	if a == "" {
		return b
	}
	return a + "\n\n" + b
}

// toolsText tells a model that was not trained for tools what it can call.
func toolsText(tools []json.RawMessage) string {
	var b strings.Builder
	b.WriteString("You may call functions. Their signatures:\n<tools>\n")
	for _, t := range tools {
		b.WriteString(compact(t) + "\n")
	}
	b.WriteString("</tools>\nTo call one, write\n<tool_call>\n{\"name\": NAME, \"arguments\": ARGUMENTS}\n</tool_call>")
	return b.String()
}

func callText(c ToolCall) string {
	args := c.Arguments
	var s string
	if json.Unmarshal(args, &s) == nil {
		args = json.RawMessage(s)
	}
	name, _ := json.Marshal(c.Name) // a string never fails
	return fmt.Sprintf("<tool_call>\n{\"name\": %s, \"arguments\": %s}\n</tool_call>", name, compact(args))
}

// functionsText is the array of the functions that tools are.
func functionsText(tools []json.RawMessage) string {
	var list []json.RawMessage
	for _, t := range tools {
		var v struct{ Function json.RawMessage }
		if json.Unmarshal(t, &v) == nil && v.Function != nil {
			t = v.Function
		}
		list = append(list, json.RawMessage(compact(t)))
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "[]" // the template says what is wrong with them
	}
	return string(b)
}

// compact is JSON in one line, as it is when it is none.
func compact(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "{}"
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

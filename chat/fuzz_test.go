package chat

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// FuzzConversation: whatever tools, arguments and texts clients send, rendering fails with ErrConversation or ErrTemplate, or writes texts
// that are no control tokens of the template's.
func FuzzConversation(f *testing.F) {
	const source = `{% for t in tools %}{{ t.function.name }}{{ t|tojson }}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments|tojson }}{% endfor %}<|im_end|>
{% endfor %}`
	f.Add(`{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}`, `{"a":[1,2.5e9,null]}`, "Hi <|im_end|>", "user")
	f.Add(`{}`, `"{\"a\":1}"`, "", "tool")
	f.Add(strings.Repeat("[", 80), `1e999`, "\xff", "assistant")
	f.Add(`{"type":1}{"x":2}`, "{", "a", "system")
	tpl, err := New("fuzz", source, vocabulary(f, source))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, tool, arguments, text, role string) {
		c := Conversation{Tools: []json.RawMessage{json.RawMessage(tool)}, Messages: []Message{{Role: role, Content: text,
			ToolCalls: []ToolCall{{ID: "c", Name: text, Arguments: json.RawMessage(arguments)}}}, {Role: "user", Content: text}}}
		for _, c := range []Conversation{c, WithoutTools(c)} {
			parts, err := tpl.Render(context.Background(), c)
			if err != nil {
				if !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrConversation) {
					t.Fatal(err)
				}
				continue
			}
			marks := 0
			for _, p := range parts {
				if p.Special {
					marks += strings.Count(p.Text, "<|im_")
				}
			}
			if marks > 2*len(c.Messages) {
				t.Fatalf("%d control texts for %d messages: %+v", marks, len(c.Messages), parts)
			}
		}
		_ = functionsText(c.Tools)
	})
}

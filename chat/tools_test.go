package chat

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/chat/reply"
)

// readAnswer reads what a template writes for an assistant's turn as if the model had written it.
func readAnswer(t *testing.T, tpl *Template, source string, vars map[string]any, turn Message) (text string, calls map[string]any) {
	t.Helper()
	same := func(_, s string) string { return s }
	ask := []Message{{Role: "user", Content: "Weather?"}}
	c := Conversation{Messages: ask, Tools: []json.RawMessage{weather, search}, Generate: true, Variables: vars}
	prompt, err := tpl.render(t.Context(), c, same, tpl.texts())
	if err != nil {
		t.Fatal(err)
	}
	c.Messages, c.Generate = append(ask, turn), false
	full, err := tpl.render(t.Context(), c, same, tpl.texts())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for n < min(len(full), len(prompt)) && full[n] == prompt[n] {
		n++
	}
	if i := strings.LastIndex(full[:n], "<|"); i >= 0 && !strings.Contains(full[i:n], ">") {
		n = i // not within a token
	}
	answer := strings.TrimPrefix(full[n:], "<|CHATBOT_TOKEN|>")
	for _, end := range []string{"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>", "<turn|>", "<|tool_response>"} {
		answer, _, _ = strings.Cut(answer, end)
	}
	r := reply.NewReader(reply.StyleOf(source).Opened(prompt), []reply.Tool{{Name: "weather", Texts: []string{"place", "unit"}}, {Name: "search", Texts: []string{"query"}}})
	var names, args []string
	for _, p := range append(r.Push(answer), r.Finish()...) {
		switch p.Kind {
		case reply.Text:
			text += p.Text
		case reply.Call:
			names, args = append(names, p.Text), append(args, "")
		case reply.Arguments:
			args[p.Call] += p.Text
		}
	}
	calls = map[string]any{}
	for i, name := range names {
		var v any
		if err := json.Unmarshal([]byte(args[i]), &v); err != nil {
			t.Errorf("arguments %q of %s in %q: %v", args[i], name, answer, err)
		}
		calls[name] = v
	}
	t.Logf("%q", answer)
	return text, calls
}

// Each real template writes a call; the reader of its style must read the same call.
func TestStylesReadWhatTemplatesWrite(t *testing.T) {
	vars := map[string]any{"functions": `[]`, "datetime": "today"}
	calls := []ToolCall{{ID: "abcdef123", Name: "weather", Arguments: json.RawMessage(`{"place": "Zurich \"HB\"", "days": 2}`)},
		{ID: "abcdef124", Name: "search", Arguments: json.RawMessage(`{"query": "2"}`)}}
	want := map[string]any{"weather": map[string]any{"place": `Zurich "HB"`, "days": 2.0}, "search": map[string]any{"query": "2"}}
	read := 0
	for name, source := range templates(t) {
		t.Run(name, func(t *testing.T) {
			tpl, err := New(name, source, vocabulary(t, source))
			if err != nil {
				t.Fatal(err)
			}
			if !tpl.TakesTools(t.Context(), vars) && !strings.Contains(name, "firefunction") {
				t.Skip("knows no tools")
			}
			if strings.Contains(name, "deepseek") {
				t.Skip("writes calls only into what follows them")
			}
			two, expect := calls, want
			if strings.Contains(name, "meta-llama") { // one call at a time
				two, expect = calls[:1], map[string]any{"weather": want["weather"]}
			}
			text, got := readAnswer(t, tpl, source, vars, Message{Role: "assistant", ToolCalls: two})
			if text != "" || !reflect.DeepEqual(got, expect) {
				t.Errorf("read %q and %v, want %v", text, got, expect)
			}
			read++
			text, got = readAnswer(t, tpl, source, vars, Message{Role: "assistant", Content: "It is 3 < 4."})
			if len(got) > 0 || strings.TrimSpace(text) != "It is 3 < 4." {
				t.Errorf("read %q and %v", text, got)
			}
		})
	}
	if read < 10 {
		t.Errorf("only %d templates were read", read)
	}
}

func TestOpening(t *testing.T) {
	source := `{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% if enable_thinking %}<think>
{% endif %}{% endif %}`
	tpl, err := New("test", source, vocabulary(t, source))
	if err != nil {
		t.Fatal(err)
	}
	for thinking, want := range map[bool]string{true: "<think>", false: ""} {
		open, err := tpl.Opening(t.Context(), map[string]any{"enable_thinking": thinking})
		if s := reply.StyleOf(source).Opened(open); err != nil || s.Begun != want {
			t.Errorf("%v: %q %v", thinking, s.Begun, err)
		}
	}
	if tpl.TakesTools(t.Context(), nil) {
		t.Error("takes tools")
	}
}

func TestWithoutTools(t *testing.T) {
	c := WithoutTools(Conversation{Tools: []json.RawMessage{search}, Messages: []Message{{Role: "system", Content: "S"}, {Role: "user", Content: "U"},
		{Role: "assistant", ToolCalls: []ToolCall{{Name: "search", Arguments: json.RawMessage(`"{\"query\": \"x\"}"`)}, {Name: "search"}}},
		{Role: "tool", Content: "1"}, {Role: "tool", Content: "2"}, {Role: "user", Content: "V"}}})
	roles := ""
	for _, m := range c.Messages {
		roles += m.Role[:1]
	}
	if roles != "suauu" || len(c.Tools) > 0 {
		t.Errorf("%s %+v", roles, c)
	}
	if s := c.Messages[0].Content; !strings.HasPrefix(s, "S\n\nYou may call") || !strings.Contains(s, `"name":"search"`) {
		t.Error(s)
	}
	if got, want := c.Messages[2].Content, "<tool_call>\n{\"name\": \"search\", \"arguments\": {\"query\":\"x\"}}\n</tool_call>\n\n<tool_call>\n{\"name\": \"search\", \"arguments\": {}}\n</tool_call>"; got != want {
		t.Errorf("%q", got)
	}
	if got, want := fmt.Sprint(c.Messages[3].Content), "<tool_response>\n1\n</tool_response>\n\n<tool_response>\n2\n</tool_response>"; got != want {
		t.Errorf("%q", got)
	}
}

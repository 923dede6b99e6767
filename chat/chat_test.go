package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/tokenizer"
)

// control are the tokens of several models' formats.
var control = strings.Fields("<s> </s> <|im_start|> <|im_end|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|begin_of_text|> <|user|> <|assistant|> <|system|> " +
	"<|end|> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_CALLS] [TOOL_RESULTS] [/TOOL_RESULTS] <｜User｜> <｜Assistant｜> <|turn> <turn|> " +
	"<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|> <|SYSTEM_TOKEN|> <|python_tag|>")

// vocabulary has a token for each byte, and the control tokens.
func vocabulary(t testing.TB, template string) *tokenizer.Tokenizer {
	t.Helper()
	var pieces []string
	var types []int32
	for _, p := range control {
		pieces, types = append(pieces, p), append(types, 3)
	}
	next := rune(256)
	for b := range rune(256) {
		r := b
		if !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174) {
			r = next
			next++
		}
		pieces, types = append(pieces, string(r)), append(types, 1)
	}
	for _, p := range []string{"<tool_call>", "</tool_call>", "<think>", "</think>"} {
		pieces, types = append(pieces, p), append(types, 4)
	}
	var b bytes.Buffer
	err := gguf.Write(&b, []gguf.KV{{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "gpt-2"}, {Key: "tokenizer.ggml.tokens", Value: pieces},
		{Key: "tokenizer.ggml.token_type", Value: types}, {Key: "tokenizer.ggml.merges", Value: []string{"a b"}}, {Key: "tokenizer.ggml.bos_token_id", Value: uint32(0)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(1)}, {Key: "tokenizer.chat_template", Value: template}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	k, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func templates(t *testing.T) map[string]string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "data", "templates")
	if d := os.Getenv("OUTRIDER_TEST_DATA"); d != "" {
		dir = filepath.Join(d, "templates")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jinja*"))
	if err != nil || len(files) == 0 {
		t.Skip("no templates: rendering is not compared")
	}
	out := make(map[string]string)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(b)
	}
	return out
}

var weather = json.RawMessage(`{"type": "function", "function": {"name": "weather", "description": "Tells the weather <here> & \"now\".", "parameters": {"type": "object",
 "properties": {"place": {"type": "string", "description": "City's name"}, "days": {"type": "integer", "description": "How many", "default": 1},
 "unit": {"type": "string", "enum": ["C", "F"]}}, "required": ["place"]}}}`)

var search = json.RawMessage(`{"type": "function", "function": {"name": "search", "description": "Finds pages.", "parameters": {"type": "object",
 "properties": {"query": {"type": "string", "description": "Words"}}, "required": ["query"]}}}`)

func conversations() map[string]Conversation {
	now := time.Date(2026, 3, 9, 8, 5, 0, 0, time.UTC)
	call := []ToolCall{{ID: "abcdef123", Name: "weather", Arguments: json.RawMessage(`{"place": "Zürich", "days": 2, "unit": "C"}`)}}
	found := []ToolCall{{ID: "abcdef124", Name: "search", Arguments: json.RawMessage(`{"query": "it's <b> \"q\""}`)}}
	all := map[string]Conversation{
		"one turn":    {Messages: []Message{{Role: "user", Content: "Hello there!"}}, Generate: true, Now: now},
		"no opening":  {Messages: []Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello."}}, Now: now},
		"system":      {Messages: []Message{{Role: "system", Content: "  Be brief.\n"}, {Role: "user", Content: " What is 1 < 2 & 'why'? \n"}}, Generate: true, Now: now},
		"several":     {Messages: []Message{{Role: "system", Content: "You are Outrider."}, {Role: "user", Content: "A?"}, {Role: "assistant", Content: "B.\n\nC"}, {Role: "user", Content: "D 🥊 日本"}}, Generate: true, Now: now},
		"thoughts":    {Messages: []Message{{Role: "user", Content: "A?"}, {Role: "assistant", Content: "<think>\nhm\n</think>\n\nB."}, {Role: "user", Content: "C?"}}, Generate: true, Now: now},
		"reasoning":   {Messages: []Message{{Role: "user", Content: "A?"}, {Role: "assistant", Content: "B.", Reasoning: "Let me see."}, {Role: "user", Content: "C?"}}, Generate: true, Now: now},
		"tools":       {Messages: []Message{{Role: "system", Content: "Use tools."}, {Role: "user", Content: "Weather in Zürich?"}}, Tools: []json.RawMessage{weather, search}, Generate: true, Now: now},
		"tool result": {Messages: []Message{{Role: "user", Content: "Weather?"}, {Role: "assistant", ToolCalls: call}, {Role: "tool", ToolCallID: "abcdef123", Name: "weather", Content: `{"sky": "clear"}`}}, Tools: []json.RawMessage{weather}, Generate: true, Now: now},
		"tool talk":   {Messages: []Message{{Role: "user", Content: "Weather?"}, {Role: "assistant", Content: "I look.", ToolCalls: call}, {Role: "tool", ToolCallID: "abcdef123", Name: "weather", Content: "clear"}, {Role: "assistant", Content: "It is clear."}, {Role: "user", Content: "Thanks"}}, Tools: []json.RawMessage{weather, search}, Generate: true, Now: now},
		"described":   {Messages: []Message{{Role: "system", Content: "Use tools."}, {Role: "user", Content: "Find it"}}, Tools: []json.RawMessage{search}, Generate: true, Now: now},
		"answered":    {Messages: []Message{{Role: "user", Content: "Find it"}, {Role: "assistant", ToolCalls: found}, {Role: "tool", ToolCallID: "abcdef124", Name: "search", Content: "[]"}, {Role: "assistant", Content: "Nothing."}, {Role: "user", Content: "Well."}}, Tools: []json.RawMessage{search}, Generate: true, Now: now},
		"variables":   {Messages: []Message{{Role: "system", Content: "S"}, {Role: "user", Content: "A"}}, Variables: map[string]any{"functions": `[{"name": "f"}]`, "datetime": "today", "enable_thinking": false}, Generate: true, Now: now},
		"two systems": {Messages: []Message{{Role: "system", Content: "A"}, {Role: "user", Content: "B"}, {Role: "system", Content: "C"}, {Role: "user", Content: "D"}}, Generate: true, Now: now},
		"wrong order": {Messages: []Message{{Role: "assistant", Content: "A"}, {Role: "user", Content: "B"}}, Generate: true, Now: now},
	}
	for name, c := range all {
		if c.Variables == nil { // what one of the templates cannot do without
			c.Variables = map[string]any{"functions": `[{"name": "f"}]`, "datetime": "today"}
			all[name] = c
		}
	}
	return all
}

type job struct {
	Template  string         `json:"template"`
	Messages  any            `json:"messages"`
	Tools     any            `json:"tools,omitempty"`
	Generate  bool           `json:"add_generation_prompt"`
	BOS       string         `json:"bos_token"`
	EOS       string         `json:"eos_token"`
	Now       string         `json:"now"`
	Variables map[string]any `json:"variables,omitempty"`
}

type answer struct {
	Text  *string `json:"text"`
	Error string  `json:"error"`
}

func asJob(c Conversation, template string, texts bool) job {
	var messages []map[string]any
	for _, m := range c.Messages {
		v := map[string]any{"role": m.Role, "content": m.Content}
		if m.Reasoning != "" {
			v["reasoning_content"] = m.Reasoning
		}
		var calls []any
		for _, call := range m.ToolCalls {
			args := []byte(call.Arguments)
			if texts {
				args, _ = json.Marshal(string(call.Arguments)) // of a string, never fails
			}
			function := `{"name": "` + call.Name + `", "arguments": ` + string(args) + `}`
			calls = append(calls, map[string]any{"id": call.ID, "type": "function", "function": json.RawMessage(function)})
		}
		if calls != nil {
			v["tool_calls"] = calls
		}
		if m.ToolCallID != "" {
			v["tool_call_id"], v["name"] = m.ToolCallID, m.Name
		}
		messages = append(messages, v)
	}
	j := job{Template: template, Messages: messages, Generate: c.Generate, BOS: "<s>", EOS: "</s>", Now: c.Now.Format(time.RFC3339), Variables: c.Variables}
	if c.Tools != nil {
		j.Tools = c.Tools
	}
	return j
}

// byHuggingFace renders with transformers; the test is skipped when Python has none.
func byHuggingFace(t *testing.T, jobs []job) []answer {
	t.Helper()
	python := os.Getenv("OUTRIDER_PYTHON")
	if python == "" {
		python = "python3"
	}
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, filepath.Join("testdata", "render.py"))
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s := stderr.String()
		if strings.Contains(s, "absent:") || errors.Is(err, exec.ErrNotFound) {
			t.Skipf("no transformers in %s (OUTRIDER_PYTHON names another): %s", python, strings.TrimSpace(s))
		}
		t.Fatalf("%v: %s", err, s)
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(jobs) {
		t.Fatalf("%d answers: %v", len(answers), err)
	}
	return answers
}

// Every template renders every conversation as Hugging Face does, or refuses it as Hugging Face does.
func TestRendersAsHuggingFace(t *testing.T) {
	type place struct{ template, conversation string }
	var jobs []job
	var places []place
	all := templates(t)
	for name, source := range all {
		for kind, c := range conversations() {
			texts := false
			if tpl, err := New(name, source, vocabulary(t, source)); err == nil && c.calls() {
				texts = tpl.texts()
			}
			jobs, places = append(jobs, asJob(c, source, texts)), append(places, place{name, kind})
		}
	}
	answers := byHuggingFace(t, jobs)
	equal, refused, lenient := 0, 0, 0
	compared := make(map[string]int)
	for i, want := range answers {
		p := places[i]
		parts, err := render(t, p.template, all[p.template], conversations()[p.conversation])
		switch {
		case want.Text == nil && err != nil:
			refused++
		case want.Text == nil && !strings.HasPrefix(want.Error, "TemplateError"):
			lenient++ // Python stops at an absent value that gonja passes over
		case want.Text == nil:
			t.Errorf("%s, %s: Hugging Face says %s, ours %q", p.template, p.conversation, want.Error, joined(parts))
		case err != nil:
			t.Errorf("%s, %s: %v", p.template, p.conversation, err)
		case escapesByAccident(*want.Text) && joined(parts) == html.UnescapeString(*want.Text):
			equal++
			compared[p.template]++
		case joined(parts) != *want.Text:
			t.Errorf("%s, %s:\n got %q\nwant %q", p.template, p.conversation, joined(parts), *want.Text)
		default:
			equal++
			compared[p.template]++
		}
	}
	for name := range all {
		if compared[name] < 2 {
			t.Errorf("%s: %d texts compared only", name, compared[name])
		}
	}
	t.Logf("%d templates: %d texts equal, %d conversations refused by both, %d fail in Python only, of %d", len(all), equal, refused, lenient, len(jobs))
}

// escapesByAccident knows the template that adds texts to ones that are marked as safe, which makes
// Python escape the others as if for a web page. Ours leaves them as people wrote them.
func escapesByAccident(text string) bool { return strings.Contains(text, "&#34;parameters&#34;") }

func render(t *testing.T, name, source string, c Conversation) ([]Part, error) {
	t.Helper()
	tpl, err := New(name, source, vocabulary(t, source))
	if err != nil {
		return nil, err
	}
	return tpl.Render(context.Background(), c)
}

package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"

	"github.com/outrider-llm/outrider/tokenizer"
)

// Template is a model's chat template, safe for concurrent use.
type Template struct {
	name    string
	t       *tokenizer.Tokenizer
	parsed  *exec.Template
	markers map[tokenizer.Token]bool // user-defined tokens that the template writes itself
	texts   func() bool              // says whether it wants a call's arguments as a JSON text
}

// New reads a template; name tells which model it belongs to. Errors wrap ErrTemplate.
func New(name, source string, t *tokenizer.Tokenizer) (tpl *Template, err error) {
	defer caught(&err, name)
	if len(source) > maxSource {
		return nil, fmt.Errorf("%w of %s: %d bytes, more than %d", ErrTemplate, name, len(source), maxSource)
	}
	c := config.New()
	c.TrimBlocks, c.LeftStripBlocks = true, true
	source, err = prepare(source, c)
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrTemplate, name, err)
	}
	parsed, err := exec.NewTemplate(rootName, c, only(source), &exec.Environment{Context: globals(), Filters: filters(), Tests: tests(),
		ControlStructures: controlStructures(), Methods: methods()})
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %s", ErrTemplate, name, brief(err, source))
	}
	tpl = &Template{name: name, t: t, parsed: parsed, markers: t.UserDefinedIn(source)}
	tpl.texts = sync.OnceValue(tpl.wantsTexts)
	return tpl, nil
}

// wantsTexts tries the template on a call with arguments as an object, which is what Hugging Face passes.
// A template that adds them to a text as they are wants JSON instead: OpenAI's protocol has it so.
func (t *Template) wantsTexts() bool {
	const object, text = `{"needle__": "x"}`, `"needle__"`
	c := Conversation{Messages: []Message{{Role: "user", Content: "x"}, {Role: "assistant", ToolCalls: []ToolCall{{ID: "call12345", Name: "f", Arguments: json.RawMessage(object)}}}}}
	same := func(_, s string) string { return s }
	out, err := t.render(context.Background(), c, same, false)
	if err == nil && !strings.Contains(out, `'needle__'`) {
		return false
	}
	out, err = t.render(context.Background(), c, same, true)
	return err == nil && strings.Contains(out, text)
}

func (c Conversation) calls() bool {
	return slices.ContainsFunc(c.Messages, func(m Message) bool { return len(m.ToolCalls) > 0 })
}

// brief makes one line of gonja's error, which quotes the whole template.
func brief(err error, source string) string {
	s := err.Error()
	if source != "" {
		s = strings.ReplaceAll(s, source, "…")
	}
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:140], "") + " … " + strings.ToValidUTF8(s[len(s)-150:], "")
	}
	return s
}

// caught turns a panic of the template engine into an error.
func caught(err *error, name string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w of %s: the template engine fails on it: %s", ErrTemplate, name, brief(fmt.Errorf("%v", p), ""))
	}
}

const rootName = "template"

// only is a loader that knows one template and no files.
type only string

// Read implements loaders.Loader.
func (o only) Read(path string) (io.Reader, error) {
	if path != rootName {
		return nil, errors.New("a chat template may not load others")
	}
	return strings.NewReader(string(o)), nil
}

// Resolve implements loaders.Loader.
func (o only) Resolve(path string) (string, error) { return path, nil }

// Inherit implements loaders.Loader.
func (o only) Inherit(string) (loaders.Loader, error) { return o, nil }

// Render writes the conversation as parts: what comes from the template is special, what people wrote
// is not. Errors wrap ErrTemplate or ErrConversation, or are the context's.
//
// The text is that of a plain rendering. Where people's texts stand in it is found by rendering again
// with brackets around them. A template that cuts a text apart or looks into it may come out otherwise
// then; brackets go around special pieces in the texts only, in a third try, and in a fourth not around
// user-defined tokens (<think>) in an assistant's own words. When that fails as well, the conversation
// is refused. One without special pieces is safe as it is.
func (t *Template) Render(ctx context.Context, c Conversation) ([]Part, error) {
	if err := check(c); err != nil {
		return nil, err
	}
	m := newMarks(t.t, t.markers)
	texts := c.calls() && t.texts()
	want, err := t.render(ctx, c, m.plain, texts)
	if err != nil {
		return nil, err
	}
	for m.level = all; m.level < nothing; m.level++ {
		if m.level > all && !m.found {
			return []Part{{Text: want, Special: true}}, nil
		}
		got, err := t.render(ctx, c, m.mark, texts)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			continue
		}
		if parts, ok := m.split(got); ok && joined(parts) == want {
			return parts, nil
		}
	}
	return nil, fmt.Errorf("%w: a message holds one of the model's special tokens where its template looks into the text: take it out", ErrConversation)
}

// Encode renders the conversation into tokens.
func (t *Template) Encode(ctx context.Context, c Conversation) ([]tokenizer.Token, error) {
	parts, err := t.Render(ctx, c)
	if err != nil {
		return nil, err
	}
	out := t.t.EncodeParts(parts, t.markers)
	if bos, ok := t.t.BOS(); ok && t.t.AddBOS() && (len(out) == 0 || out[0] != bos) {
		out = append([]tokenizer.Token{bos}, out...)
	}
	return out, nil
}

// check validates what the template would trust.
func check(c Conversation) error {
	if len(c.Messages) == 0 {
		return fmt.Errorf("%w: it has no messages", ErrConversation)
	}
	for _, m := range c.Messages {
		if m.Role == "" || len(m.Role) > 32 || strings.ContainsFunc(m.Role, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}) {
			return fmt.Errorf("%w: role %.40q: use letters, digits, - and _", ErrConversation, m.Role)
		}
		for _, s := range []string{m.Content, m.Reasoning, m.Name, m.ToolCallID} {
			if !utf8.ValidString(s) {
				return fmt.Errorf("%w: a message of the %s is not valid UTF-8: convert it first", ErrConversation, m.Role)
			}
		}
	}
	return nil
}

// render runs the template once; every text passes through mark. texts: calls' arguments are JSON texts.
func (t *Template) render(ctx context.Context, c Conversation, mark func(key, s string) string, texts bool) (out string, err error) {
	defer caught(&err, t.name)
	data, size, err := variables(c, mark, texts)
	if err != nil {
		return "", err
	}
	b := newBudget(ctx, size)
	data[budgetEntry], data[nowEntry] = b, c.Now
	for name, get := range map[string]func() (tokenizer.Token, bool){"bos_token": t.t.BOS, "eos_token": t.t.EOS} {
		data[name] = ""
		if k, ok := get(); ok {
			data[name] = t.t.Piece(k)
		}
	}
	var w bytes.Buffer
	err = t.parsed.Execute(&counted{&w, b}, exec.NewContext(data))
	var no *refused
	switch {
	case err == nil:
		return w.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(b.spent, &no):
		return "", fmt.Errorf("%w: the template of %s says: %s", ErrConversation, t.name, brief(no, ""))
	case b.spent != nil:
		return "", fmt.Errorf("%w of %s: %w", ErrTemplate, t.name, b.spent)
	}
	return "", fmt.Errorf("%w of %s: %s", ErrTemplate, t.name, brief(err, ""))
}

// variables are what the template sees of a conversation, and its size in bytes.
func variables(c Conversation, mark func(key, s string) string, texts bool) (map[string]any, int, error) {
	size := 0
	text := func(key, s string) string {
		size += len(s)
		return mark(key, s)
	}
	data := map[string]any{"add_generation_prompt": c.Generate, "tools": nil, "documents": nil}
	for name, v := range c.Variables {
		raw, err := json.Marshal(v)
		if err == nil {
			data[name], err = readJSON(raw, text)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w: variable %s: %w", ErrConversation, name, err)
		}
	}
	messages := list{}
	for _, m := range c.Messages {
		v, err := message(m, text, texts)
		if err != nil {
			return nil, 0, err
		}
		messages = append(messages, v)
	}
	data["messages"] = messages
	if c.Now.IsZero() {
		data["datetime"] = ""
	} else if data["datetime"] == nil {
		data["datetime"] = c.Now.Format("2006-01-02 15:04")
	}
	if len(c.Tools) > 0 {
		tools := list{}
		for i, raw := range c.Tools {
			v, err := readJSON(raw, text)
			if err != nil {
				return nil, 0, fmt.Errorf("%w: tool %d is no JSON: %w", ErrConversation, i+1, err)
			}
			tools = append(tools, v)
		}
		data["tools"] = tools
		if _, ok := data["functions"]; !ok { // a name that some templates have for the same, as a text
			data["functions"] = text("functions", functionsText(c.Tools))
		}
	}
	return data, size, nil
}

// message is the shape that Hugging Face gives a turn.
func message(m Message, text func(key, s string) string, texts bool) (any, error) {
	place := "content"
	if m.Role == "assistant" {
		place = ownOf
	}
	fields := []field{{"role", m.Role}, {"content", text(place, m.Content)}}
	if m.Reasoning != "" {
		r := text(place, m.Reasoning)
		fields = append(fields, field{"reasoning_content", r}, field{"thinking", r})
	}
	if len(m.ToolCalls) > 0 {
		calls := list{}
		for _, call := range m.ToolCalls {
			args, err := arguments(call.Arguments, text, texts)
			if err != nil {
				return nil, fmt.Errorf("%w: arguments of the call of %.40q: %w", ErrConversation, call.Name, err)
			}
			f := object(field{"name", text("name", call.Name)}, field{"arguments", args})
			entry := []field{{"type", "function"}, {"function", f}}
			if call.ID != "" {
				entry = append([]field{{"id", text("id", call.ID)}}, entry...)
			}
			calls = append(calls, object(entry...))
		}
		fields = append(fields, field{"tool_calls", calls})
	}
	if m.ToolCallID != "" {
		fields = append(fields, field{"tool_call_id", text("tool_call_id", m.ToolCallID)})
	}
	if m.Name != "" {
		fields = append(fields, field{"name", text("name", m.Name)})
	}
	return object(fields...), nil
}

// arguments reads a call's arguments, an object that OpenAI's protocol writes into a string.
func arguments(raw json.RawMessage, text func(key, s string) string, texts bool) (any, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		raw = []byte(s)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	v, err := readJSON(raw, text)
	if err == nil && texts {
		return text("arguments", string(raw)), nil
	}
	return v, err
}

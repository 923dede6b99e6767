package edge

import (
	"context"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/tokenizer"
)

// chatFormat is how a model without a chat template wants a conversation written. Text between
// markers comes from the user and is tokenized without special tokens, so that it cannot forge one.
type chatFormat struct {
	open    map[string]string // role to its marker
	header  map[string]string // text after the marker
	close   string            // marker that ends a turn
	between string            // text after it
}

// demoFormat is that of the demo pair (models/train): a system message is a turn of the user.
func demoFormat() chatFormat {
	return chatFormat{open: map[string]string{"system": "<|user|>", "user": "<|user|>", "assistant": "<|assistant|>"}, close: "<|end|>"}
}

func chatML() chatFormat {
	return chatFormat{
		open:   map[string]string{"system": "<|im_start|>", "user": "<|im_start|>", "assistant": "<|im_start|>"},
		header: map[string]string{"system": "system\n", "user": "user\n", "assistant": "assistant\n"},
		close:  "<|im_end|>", between: "\n",
	}
}

// formatOf recognises the conversation formats of models that have no chat template, by the
// vocabulary's markers.
func formatOf(t *tokenizer.Tokenizer) (chatFormat, error) {
	has := func(markers ...string) bool {
		for _, m := range markers {
			if _, ok := t.ID(m); !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("<|im_start|>", "<|im_end|>"):
		return chatML(), nil
	case has("<|user|>", "<|assistant|>", "<|end|>"):
		return demoFormat(), nil
	}
	return chatFormat{}, requestError("this model has no chat template and no known turn markers: use generate with a raw prompt")
}

// CanChat says whether conversations can be put to this vocabulary, and why not.
func CanChat(t *tokenizer.Tokenizer) error {
	if t.ChatTemplate() == "" {
		_, err := formatOf(t)
		return err
	}
	_, err := templateOf(t)
	return err
}

func templateOf(t *tokenizer.Tokenizer) (*chat.Template, error) {
	tpl, err := chat.New("this model", t.ChatTemplate(), t)
	if err != nil {
		return nil, requestError("%s: use generate with a raw prompt", oneLine(err.Error()))
	}
	return tpl, nil
}

// AnswerStyle is how the model writes thoughts and tool calls in its answer to a conversation.
func AnswerStyle(t *tokenizer.Tokenizer, variables map[string]any) reply.Style {
	if t == nil || t.ChatTemplate() == "" {
		return reply.Hermes()
	}
	tpl, err := templateOf(t)
	if err != nil {
		return reply.Hermes()
	}
	ctx := context.Background() // rendering is bounded by itself
	s := reply.Untaught(t.ChatTemplate())
	if tpl.TakesTools(ctx, variables) {
		s = reply.StyleOf(t.ChatTemplate())
	}
	opening, err := tpl.Opening(ctx, variables)
	if err != nil {
		return s
	}
	return s.Opened(opening)
}

// ChatPrompt writes a conversation as the model's chat template has it, or in the format of its
// markers when it has none, up to where the assistant answers. Where the template knows no tools, they
// are told in words. Errors wrap ErrRequest.
func ChatPrompt(t *tokenizer.Tokenizer, c chat.Conversation) ([]Token, error) {
	if err := checkMessages(c.Messages); err != nil {
		return nil, err
	}
	tools := len(c.Tools) > 0 || slices.ContainsFunc(c.Messages, func(m Message) bool { return m.Role == "tool" || len(m.ToolCalls) > 0 })
	if t.ChatTemplate() == "" {
		if tools {
			c = chat.WithoutTools(c)
		}
		return markedPrompt(t, c.Messages)
	}
	tpl, err := templateOf(t)
	if err != nil {
		return nil, err
	}
	ctx := context.Background() // rendering is bounded by itself
	if tools && !tpl.TakesTools(ctx, c.Variables) {
		c = chat.WithoutTools(c)
	}
	tokens, err := tpl.Encode(ctx, c)
	switch {
	case errors.Is(err, chat.ErrTemplate):
		return nil, requestError("%s: use generate with a raw prompt", oneLine(err.Error()))
	case err != nil:
		return nil, requestError("%s", oneLine(err.Error()))
	case len(tokens) == 0:
		return nil, requestError("the chat template of this model writes nothing: use generate with a raw prompt")
	}
	return tokens, nil
}

// markedPrompt is ChatPrompt for models without a template.
func markedPrompt(t *tokenizer.Tokenizer, messages []Message) ([]Token, error) {
	f, err := formatOf(t)
	if err != nil {
		return nil, err
	}
	var out []Token
	if bos, ok := t.BOS(); ok && t.AddBOS() {
		out = append(out, bos)
	}
	marker := func(piece string) {
		k, _ := t.ID(piece) // formatOf has seen them all
		out = append(out, k)
	}
	text := func(s string) []Token { return t.Encode(s, tokenizer.Options{}) }
	for _, m := range messages {
		marker(f.open[m.Role])
		body := text(f.header[m.Role] + m.Content)
		if slices.ContainsFunc(body, func(k Token) bool { return f.isMarker(t.Piece(k)) }) {
			return nil, requestError("a message holds one of the model's turn markers: take it out")
		}
		out = append(out, body...)
		marker(f.close)
		out = append(out, text(f.between)...)
	}
	marker(f.open["assistant"])
	return append(out, text(f.header["assistant"])...), nil
}

func (f chatFormat) isMarker(piece string) bool {
	for _, m := range f.open {
		if piece == m {
			return true
		}
	}
	return piece == f.close
}

// checkMessages validates the turns.
func checkMessages(messages []Message) error {
	if len(messages) == 0 {
		return requestError("the conversation is empty: give it at least one message")
	}
	for _, m := range messages {
		switch {
		case m.Role != "system" && m.Role != "user" && m.Role != "assistant" && m.Role != "tool":
			return requestError("role %q is unknown: use system, user, assistant or tool", m.Role)
		case !utf8.ValidString(m.Content):
			return requestError("a message is not valid UTF-8: convert it first")
		case m.Content == "" && m.Role != "tool" && len(m.ToolCalls) == 0:
			return requestError("a message of the %s is empty: give it at least one character", m.Role)
		}
	}
	return nil
}

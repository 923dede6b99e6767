package edge

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/outrider-llm/outrider/tokenizer"
)

// chatFormat is how a model wants a conversation written. Text between markers comes from the user
// and is tokenized without special tokens, so that it cannot forge a marker.
type chatFormat struct {
	open    map[string]string // role to its marker; no marker: folded into the first user turn
	header  map[string]string // text after the marker
	close   string            // marker that ends a turn
	between string            // text after it
}

func demoFormat(t *tokenizer.Tokenizer) chatFormat {
	f := chatFormat{open: map[string]string{"user": "<|user|>", "assistant": "<|assistant|>"}, close: "<|end|>"}
	if _, ok := t.ID("<|system|>"); ok {
		f.open["system"] = "<|system|>"
	}
	return f
}

func chatML() chatFormat {
	return chatFormat{
		open:   map[string]string{"system": "<|im_start|>", "user": "<|im_start|>", "assistant": "<|im_start|>"},
		header: map[string]string{"system": "system\n", "user": "user\n", "assistant": "assistant\n"},
		close:  "<|im_end|>", between: "\n",
	}
}

// formatOf recognises the conversation formats that are known so far, by the vocabulary's markers.
func formatOf(t *tokenizer.Tokenizer) (chatFormat, error) {
	has := func(markers ...string) bool {
		for _, m := range markers {
			if _, ok := t.ID(m); !ok {
				return false
			}
		}
		return true
	}
	template := t.ChatTemplate()
	switch {
	case has("<|im_start|>", "<|im_end|>") && (template == "" || strings.Contains(template, "<|im_start|>")):
		return chatML(), nil
	case has("<|user|>", "<|assistant|>", "<|end|>") && template == "":
		return demoFormat(t), nil
	}
	return chatFormat{}, requestError("the chat template of this model is not known yet: use generate with a raw prompt")
}

// CanChat says whether conversations can be put to this vocabulary, and why not.
func CanChat(t *tokenizer.Tokenizer) error {
	_, err := formatOf(t)
	return err
}

// ChatPrompt writes a conversation in the model's format, up to where the assistant answers. Errors
// wrap ErrRequest.
func ChatPrompt(t *tokenizer.Tokenizer, messages []Message) ([]Token, error) {
	f, err := formatOf(t)
	if err != nil {
		return nil, err
	}
	if messages, err = f.check(messages); err != nil {
		return nil, err
	}
	var out []Token
	if bos, ok := t.BOS(); ok && t.AddBOS() {
		out = append(out, bos)
	}
	after := ""
	for _, m := range messages {
		if out, err = f.turn(t, out, after, m.Role); err != nil {
			return nil, err
		}
		body := t.Encode(f.header[m.Role]+m.Content, tokenizer.Options{})
		if slices.ContainsFunc(body, func(k Token) bool { return f.isMarker(t.Piece(k)) }) {
			return nil, requestError("a message holds one of the model's turn markers: take it out")
		}
		out = append(out, body...)
		end, _ := t.ID(f.close)
		out = append(out, end)
		after = f.between
	}
	if out, err = f.turn(t, out, after, "assistant"); err != nil {
		return nil, err
	}
	return append(out, t.Encode(f.header["assistant"], tokenizer.Options{})...), nil
}

func (f chatFormat) isMarker(piece string) bool {
	for _, m := range f.open {
		if piece == m {
			return true
		}
	}
	return piece == f.close
}

// turn writes what comes between the turn before and a role's text.
func (f chatFormat) turn(t *tokenizer.Tokenizer, out []Token, after, role string) ([]Token, error) {
	if after != "" {
		out = append(out, t.Encode(after, tokenizer.Options{})...)
	}
	marker, ok := t.ID(f.open[role])
	if !ok {
		return nil, requestError("this model has no marker for the role %q", role)
	}
	return append(out, marker), nil
}

// check validates the turns and folds system text into the first user turn where the format has no
// marker for it.
func (f chatFormat) check(messages []Message) ([]Message, error) {
	var out []Message
	system := ""
	for _, m := range messages {
		if m.Role != "system" && m.Role != "user" && m.Role != "assistant" {
			return nil, requestError("role %q is unknown: use system, user or assistant", m.Role)
		}
		if !utf8.ValidString(m.Content) {
			return nil, requestError("a message is not valid UTF-8: convert it first")
		}
		if m.Content == "" {
			return nil, requestError("a message of the %s is empty: give it at least one character", m.Role)
		}
		if m.Role == "system" && f.open["system"] == "" {
			system += m.Content + "\n"
			continue
		}
		if m.Role == "user" && system != "" {
			m.Content, system = system+m.Content, ""
		}
		out = append(out, m)
	}
	if len(out) == 0 || out[len(out)-1].Role != "user" {
		return nil, requestError("a conversation must end with a message of the user")
	}
	return out, nil
}

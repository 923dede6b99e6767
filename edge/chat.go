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
	case has("<|user|>", "<|assistant|>", "<|end|>") && !strings.ContainsAny(template, "\n\\"):
		return demoFormat(), nil // Phi's template knows the same markers, but has line ends between them
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
	if err := f.check(messages); err != nil {
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

// check validates the turns.
func (f chatFormat) check(messages []Message) error {
	for _, m := range messages {
		switch {
		case f.open[m.Role] == "":
			return requestError("role %q is unknown: use system, user or assistant", m.Role)
		case !utf8.ValidString(m.Content):
			return requestError("a message is not valid UTF-8: convert it first")
		case m.Content == "":
			return requestError("a message of the %s is empty: give it at least one character", m.Role)
		}
	}
	if len(messages) == 0 || messages[len(messages)-1].Role != "user" {
		return requestError("a conversation must end with a message of the user")
	}
	return nil
}

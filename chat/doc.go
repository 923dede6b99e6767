// Package chat writes a conversation the way a model was trained to read it: it renders the model's
// own chat template (Jinja, tokenizer.chat_template) and keeps apart what the template wrote, whose
// special tokens count, and what people wrote, in which they are plain text.
//
// Templates come with models from anywhere, so they run bounded in time, steps, depth and size, see
// no files, and can do nothing but write text.
package chat

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/outrider-llm/outrider/tokenizer"
)

// Errors that this package's functions wrap.
var (
	ErrTemplate     = errors.New("chat template")     // the template is broken, hostile, or needs what is not there
	ErrConversation = errors.New("chat conversation") // the template refuses the messages, or they are malformed
)

// Message is one turn.
type Message struct {
	Role       string // system, user, assistant, tool; letters, digits, - and _ only, as templates build tokens from it
	Content    string
	Reasoning  string     // thoughts of an assistant's earlier turn
	ToolCalls  []ToolCall // that an assistant made
	ToolCallID string     // the call that a tool answers
	Name       string     // of a tool that answers
}

// ToolCall is a function call that the assistant made.
type ToolCall struct {
	ID, Name  string
	Arguments json.RawMessage // an object; as a JSON string it is parsed
}

// Conversation is what a template renders.
type Conversation struct {
	Messages  []Message
	Tools     []json.RawMessage // {"type":"function","function":{…}}, in the order to show
	Generate  bool              // end with the opening of the assistant's next turn
	Now       time.Time         // what strftime_now tells
	Variables map[string]any    // extra template variables (enable_thinking): booleans, numbers, strings
}

// Part is a piece of a rendered conversation.
type Part = tokenizer.Part

package openai

import (
	"encoding/json"
	"net/http"

	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/edge"
)

// response is the object of /v1/responses. Much of it tells the request back.
type response struct {
	ID           string             `json:"id"`
	Object       string             `json:"object"`
	CreatedAt    int64              `json:"created_at"`
	Status       string             `json:"status"`
	Error        *responseError     `json:"error"`
	Incomplete   *incompleteDetails `json:"incomplete_details"`
	Instructions *string            `json:"instructions"`
	MaxTokens    *int               `json:"max_output_tokens"`
	Model        string             `json:"model"`
	Output       []any              `json:"output"`
	Parallel     bool               `json:"parallel_tool_calls"`
	Previous     *string            `json:"previous_response_id"`
	Store        bool               `json:"store"`
	Temperature  float64            `json:"temperature"`
	TopP         float64            `json:"top_p"`
	Text         json.RawMessage    `json:"text"`
	ToolChoice   json.RawMessage    `json:"tool_choice"`
	Tools        json.RawMessage    `json:"tools"`
	Truncation   string             `json:"truncation"`
	Metadata     json.RawMessage    `json:"metadata"`
	Usage        *responseUsage     `json:"usage"`
	Metrics      *metrics           `json:"metrics,omitempty"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incompleteDetails struct {
	Reason string `json:"reason"`
}

// responseUsage is usage in this endpoint's words.
type responseUsage struct {
	Input        int `json:"input_tokens"`
	InputDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int `json:"total_tokens"`
}

// responses is POST /v1/responses. Nothing is stored: each request brings its whole conversation.
func (s *server) responses(w http.ResponseWriter, r *http.Request, o *object) error {
	o.see = &perceiver{ctx: r.Context(), s: s.senses}
	j := &job{id: s.newID("resp_"), reads: true}
	s.common(r.Context(), o, j)
	if j.n != 1 {
		o.fail("n", "unsupported_parameter", "'n' must be 1 here")
	}
	instructions := o.text("instructions")
	j.r.Messages = o.input("input")
	if instructions != "" {
		j.r.Messages = append([]edge.Message{{Role: "system", Content: instructions}}, j.r.Messages...)
	}
	j.r.MaxTokens = o.limit(0, "max_output_tokens")
	j.r.Variables = o.variables("chat_template_kwargs")
	o.effort(o.sub("reasoning").text("effort"), j)
	tools := readTools(o, true)
	s.constrained(o, j, tools, o.sub("text").format("format", true), o.structured("structured_outputs"))
	o.unsupported("previous_response_id", "conversation", "prompt")
	if o.flag("background", false) {
		o.fail("background", "unsupported_parameter", "'background' is not supported: nothing is stored here")
	}
	if *o.err != nil {
		(*o.err).write(w)
		return *o.err
	}
	out := &responder{s: s, j: j, r: o.response(j, instructions)}
	if j.stream {
		return out.stream(w, r, tools)
	}
	answers, err := s.generate(r.Context(), j, tools, out)
	if err != nil {
		errorOf(err, j.name).write(w)
		return err
	}
	out.end(answers[0])
	writeJSON(w, http.StatusOK, out.r)
	return nil
}

// response begins the object that answers a request.
func (o *object) response(j *job, instructions string) *response {
	or := func(name, def string) json.RawMessage {
		if o.has(name) {
			return o.m[name]
		}
		return json.RawMessage(def)
	}
	p := j.r.Params
	r := &response{ID: j.id, Object: "response", CreatedAt: j.created, Status: "in_progress", Model: j.name, Output: []any{},
		Parallel: o.flag("parallel_tool_calls", true), Temperature: o.number("temperature", 1, 0, 100), TopP: o.number("top_p", float64(p.TopP), 0, 1),
		Text: or("text", `{"format":{"type":"text"}}`), ToolChoice: or("tool_choice", `"auto"`), Tools: or("tools", "[]"),
		Truncation: "disabled", Metadata: or("metadata", "{}")}
	if instructions != "" {
		r.Instructions = &instructions
	}
	if j.r.MaxTokens > 0 {
		r.MaxTokens = &j.r.MaxTokens
	}
	return r
}

// effort tells the template how much thinking is wanted.
func (o *object) effort(effort string, j *job) {
	if effort == "" {
		return
	}
	if j.r.Variables == nil {
		j.r.Variables = map[string]any{}
	}
	if _, ok := j.r.Variables["enable_thinking"]; !ok && effort == "none" {
		j.r.Variables["enable_thinking"] = false
	}
	if _, ok := j.r.Variables["reasoning_effort"]; !ok {
		j.r.Variables["reasoning_effort"] = effort
	}
}

// input reads a text, or the items of a conversation.
func (o *object) input(name string) []edge.Message {
	if !o.has(name) {
		o.fail(name, "missing_required_parameter", "missing required parameter: '%s%s'", o.path, name)
		return nil
	}
	var text string
	if json.Unmarshal(o.m[name], &text) == nil {
		if text == "" {
			o.fail(name, "invalid_value", "'%s%s' is empty: give it at least one character", o.path, name)
		}
		return []edge.Message{{Role: "user", Content: text}}
	}
	if kindOf(o.m[name]) != "an array" {
		o.wrong(name, "a string or an array of items")
		return nil
	}
	var c items
	for i, raw := range o.list(name, maxMessages) {
		e := o.element(at(name, i), raw)
		if *o.err != nil {
			return nil
		}
		c.add(e)
	}
	if len(c.messages) == 0 {
		o.fail(name, "invalid_value", "'%s%s' has no messages: give it at least one", o.path, name)
	}
	nameResults(c.messages)
	return c.messages
}

// items turns those of a conversation into its turns.
type items struct {
	messages  []edge.Message
	reasoning string // of the assistant's turn that follows
}

// turn is the assistant's turn that an item belongs to.
func (c *items) turn() *edge.Message {
	if n := len(c.messages); n == 0 || c.messages[n-1].Role != "assistant" {
		c.messages = append(c.messages, edge.Message{Role: "assistant", Reasoning: c.reasoning})
		c.reasoning = ""
	}
	return &c.messages[len(c.messages)-1]
}

func (c *items) add(e *object) {
	kind := "message"
	if e.has("type") {
		kind = e.text("type")
	}
	switch kind {
	case "message":
		m := e.message()
		if m.Role == "assistant" && c.reasoning != "" {
			m.Reasoning, c.reasoning = c.reasoning, ""
		}
		c.messages = append(c.messages, m)
	case "function_call":
		t := c.turn()
		t.ToolCalls = append(t.ToolCalls, chat.ToolCall{ID: e.must("call_id"), Name: e.must("name"), Arguments: e.arguments("arguments")})
	case "function_call_output":
		c.messages = append(c.messages, edge.Message{Role: "tool", ToolCallID: e.must("call_id"), Content: e.content("output")})
	case "reasoning":
		for i, raw := range e.list("content", maxMessages) {
			c.reasoning += e.element(at("content", i), raw).text("text")
		}
	default:
		e.fail("type", "unsupported_value", "'%stype' is %.40q, must be message, function_call, function_call_output or reasoning", e.path, kind)
	}
}

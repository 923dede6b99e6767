package openai

import (
	"encoding/json"
	"net/http"

	"github.com/outrider-llm/outrider/chat/reply"
)

// chatMessage is an answer, whole or in part.
type chatMessage struct {
	Role      string        `json:"role,omitempty"`
	Content   *string       `json:"content,omitempty"`
	Reasoning *string       `json:"reasoning_content,omitempty"`
	ToolCalls []toolCall    `json:"tool_calls,omitempty"`
	Audio     *messageAudio `json:"audio,omitempty"`
}

// wholeMessage is an answer whose content may be null.
type wholeMessage struct {
	Role      string        `json:"role"`
	Content   *string       `json:"content"`
	Refusal   *string       `json:"refusal"`
	Reasoning *string       `json:"reasoning_content,omitempty"`
	ToolCalls []toolCall    `json:"tool_calls,omitempty"`
	Audio     *messageAudio `json:"audio,omitempty"`
}

// toolCall is a call, or what is added to one.
type toolCall struct {
	Index    *int         `json:"index,omitempty"` // in streams
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type chatChoice struct {
	Index    int          `json:"index"`
	Message  wholeMessage `json:"message"`
	Logprobs *logprobs    `json:"logprobs"`
	Finish   string       `json:"finish_reason"`
}

type chatCompletion struct {
	ID       string       `json:"id"`
	Object   string       `json:"object"`
	Created  int64        `json:"created"`
	Model    string       `json:"model"`
	Choices  []chatChoice `json:"choices"`
	Usage    *usage       `json:"usage"`
	Metrics  *metrics     `json:"metrics"`
	Outrider *outrider    `json:"outrider,omitempty"`
}

type chunkChoice struct {
	Index    int         `json:"index"`
	Delta    chatMessage `json:"delta"`
	Logprobs *logprobs   `json:"logprobs,omitempty"`
	Finish   *string     `json:"finish_reason"`
}

type chatChunk struct {
	ID       string          `json:"id"`
	Object   string          `json:"object"`
	Created  int64           `json:"created"`
	Model    string          `json:"model"`
	Choices  []chunkChoice   `json:"choices"`
	Usage    json.RawMessage `json:"usage,omitempty"` // null until the last chunk, when asked for
	Metrics  *metrics        `json:"metrics,omitempty"`
	Outrider *outrider       `json:"outrider,omitempty"`
}

// chat is POST /v1/chat/completions.
func (s *server) chat(w http.ResponseWriter, r *http.Request, o *object) error {
	j := &job{id: s.newID("chatcmpl-"), reads: true}
	o.see = &perceiver{ctx: r.Context(), s: s.senses}
	j.r.Messages = o.conversation("messages")
	s.common(r.Context(), o, j)
	j.r.MaxTokens = o.limit(0, "max_completion_tokens", "max_tokens")
	if o.flag("logprobs", false) {
		j.r.Logprobs = 1 + int(o.whole("top_logprobs", 0, 0, maxLogprobs))
	}
	j.r.Variables = o.variables("chat_template_kwargs")
	o.effort(o.text("reasoning_effort"), j)
	tools := readTools(o, false)
	s.constrained(o, j, tools, o.format("response_format", false), o.structured("structured_outputs"))
	o.unsupported("functions", "function_call")
	aloud := o.spoken(j)
	if aloud != nil && *o.err == nil && s.senses.p == nil {
		*o.err = perceptionError(errPerceptionOff(), "modalities")
	}
	if *o.err != nil {
		(*o.err).write(w)
		return *o.err
	}
	if j.stream {
		return s.chatStream(w, r, j, tools, aloud)
	}
	answers, err := s.generate(r.Context(), j, tools, nothing{})
	if err != nil {
		errorOf(err, j.name).write(w)
		return err
	}
	out := chatCompletion{ID: j.id, Object: "chat.completion", Created: j.created, Model: j.name, Usage: usageOf(answers),
		Metrics: metricsOf(answers, s.models.draft())}
	for i, a := range answers {
		out.Choices = append(out.Choices, a.choice(i))
	}
	if aloud != nil {
		m := &out.Choices[0].Message
		if m.Audio, err = s.say(r.Context(), aloud, answers[0].text.String()); err != nil {
			perceptionError(err, "audio").write(w)
			return err
		}
		m.Content = nil // as OpenAI has it: the transcript is with the sound
	}
	if j.ext.tokens {
		out.Outrider = &outrider{Tokens: tokensOf(answers[0].tokens)}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// choice is an answer as a whole.
func (a *answer) choice(index int) chatChoice {
	c := chatChoice{Index: index, Message: wholeMessage{Role: "assistant"}, Finish: a.finish}
	if text := a.text.String(); text != "" || len(a.calls) == 0 {
		c.Message.Content = &text
	}
	if thought := a.thought.String(); thought != "" {
		c.Message.Reasoning = &thought
	}
	for _, k := range a.calls {
		c.Message.ToolCalls = append(c.Message.ToolCalls, toolCall{ID: k.id, Type: "function",
			Function: functionCall{Name: k.name, Arguments: k.arguments.String()}})
	}
	if a.j.r.Logprobs > 0 {
		c.Logprobs = logprobsOf(a.j.tok, a.tokens)
	}
	return c
}

// chatStream answers with server-sent events.
func (s *server) chatStream(w http.ResponseWriter, r *http.Request, j *job, tools *toolset, aloud *spoken) error {
	out := newStream(w, s.c.Heartbeat, s.c.WriteTimeout)
	defer out.close()
	c := &chatSink{s: s, j: j, out: out, begun: make([]bool, j.n)}
	var to sink = c
	if aloud != nil {
		p := newSpeaker(r.Context(), c, aloud)
		defer p.close()
		to = p
	}
	answers, err := s.generate(r.Context(), j, tools, to)
	if err != nil {
		out.fail(errorOf(err, j.name), errorChunk)
		return err
	}
	if j.usage {
		last := c.chunk()
		last.Choices = []chunkChoice{}
		last.Usage, _ = json.Marshal(usageOf(answers)) // of numbers, never fails
		last.Metrics = metricsOf(answers, s.models.draft())
		_ = out.send("", last) // a client that is gone needs no end
	}
	out.done()
	return nil
}

// errorChunk is how a stream of completions tells that it failed.
func errorChunk(e *apiError) (string, any) { return "", map[string]any{"error": e} }

// chatSink writes chunks.
type chatSink struct {
	s        *server
	j        *job
	out      *stream
	begun    []bool
	finished []*answer
}

func (c *chatSink) chunk() *chatChunk {
	k := &chatChunk{ID: c.j.id, Object: "chat.completion.chunk", Created: c.j.created, Model: c.j.name}
	if c.j.usage {
		k.Usage = json.RawMessage("null")
	}
	return k
}

// begin writes the chunk that opens a choice.
func (c *chatSink) begin(choice int) error {
	if c.begun[choice] {
		return nil
	}
	c.begun[choice] = true
	k, empty := c.chunk(), ""
	k.Choices = []chunkChoice{{Index: choice, Delta: chatMessage{Role: "assistant", Content: &empty}}}
	return c.out.send("", k)
}

func (c *chatSink) delta(choice int, d *delta) error {
	o := c.j.ext.outriderOf(d)
	if len(d.parts) == 0 && o == nil && (c.j.r.Logprobs == 0 || len(d.tokens) == 0) {
		return nil
	}
	if err := c.begin(choice); err != nil {
		return err
	}
	k := c.chunk()
	k.Choices, k.Outrider = []chunkChoice{{Index: choice, Delta: messageOf(d.parts)}}, o
	if c.j.r.Logprobs > 0 && len(d.tokens) > 0 {
		k.Choices[0].Logprobs = logprobsOf(c.j.tok, d.tokens)
	}
	return c.out.send("", k)
}

// messageOf puts parts into one delta.
func messageOf(parts []part) chatMessage {
	var m chatMessage
	add := func(p **string, text string) {
		if *p == nil {
			*p = new(string)
		}
		**p += text
	}
	for _, p := range parts {
		switch p.Kind {
		case reply.Text:
			add(&m.Content, p.Text)
		case reply.Thought:
			add(&m.Reasoning, p.Text)
		case reply.Call:
			m.ToolCalls = append(m.ToolCalls, toolCall{Index: &p.Call, ID: p.id, Type: "function", Function: functionCall{Name: p.Text}})
		case reply.Arguments:
			if n := len(m.ToolCalls); n > 0 && *m.ToolCalls[n-1].Index == p.Call {
				m.ToolCalls[n-1].Function.Arguments += p.Text
				continue
			}
			m.ToolCalls = append(m.ToolCalls, toolCall{Index: &p.Call, Function: functionCall{Arguments: p.Text}})
		}
	}
	return m
}

func (c *chatSink) finish(choice int, d *delta, a *answer) error {
	if err := c.begin(choice); err != nil {
		return err
	}
	k := c.chunk()
	k.Choices = []chunkChoice{{Index: choice, Delta: messageOf(d.parts), Finish: &a.finish}}
	if c.finished = append(c.finished, a); len(c.finished) == c.j.n && !c.j.usage {
		k.Metrics = metricsOf(c.finished, c.s.models.draft())
	}
	return c.out.send("", k)
}

package openai

import (
	"net/http"

	"github.com/outrider-llm/outrider/chat/reply"
)

// responder turns an answer's parts into the items of a response and, when it streams, into the events
// that tell of them.
type responder struct {
	s   *server
	j   *job
	r   *response
	out *stream // nil: the response is sent as a whole

	sequence int
	kind     reply.Kind // of the item under way
	open     bool       // there is one
	item     *item
}

// item is one of a response's output: a message, the thoughts before it, or a call.
type item struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Status    string         `json:"status"`
	Role      string         `json:"role,omitempty"`
	Summary   *[]any         `json:"summary,omitempty"`
	Content   *[]contentPart `json:"content,omitempty"`
	CallID    string         `json:"call_id,omitempty"`
	Name      string         `json:"name,omitempty"`
	Arguments *string        `json:"arguments,omitempty"`
}

type contentPart struct {
	Type        string `json:"type"`
	Text        string `json:"text"`
	Annotations *[]any `json:"annotations,omitempty"`
	Logprobs    *[]any `json:"logprobs,omitempty"`
}

// event is a server-sent event of this endpoint; fields that it does not have stay away.
type event struct {
	Type         string       `json:"type"`
	Sequence     int          `json:"sequence_number"`
	Response     *response    `json:"response,omitempty"`
	OutputIndex  *int         `json:"output_index,omitempty"`
	ItemID       string       `json:"item_id,omitempty"`
	ContentIndex *int         `json:"content_index,omitempty"`
	Item         *item        `json:"item,omitempty"`
	Part         *contentPart `json:"part,omitempty"`
	Delta        *string      `json:"delta,omitempty"`
	Text         *string      `json:"text,omitempty"`
	Logprobs     *[]any       `json:"logprobs,omitempty"`
	Name         string       `json:"name,omitempty"`
	Arguments    *string      `json:"arguments,omitempty"`
}

// send tells of something, unless the response is sent as a whole.
func (p *responder) send(kind string, e event) error {
	if p.out == nil {
		return nil
	}
	e.Type, e.Sequence = "response."+kind, p.sequence
	p.sequence++
	return p.out.send(e.Type, e)
}

// here fills in which item, and which part of it, an event is about.
func (p *responder) here(e event, part bool) event {
	index := len(p.r.Output)
	e.OutputIndex, e.ItemID = &index, p.item.ID
	if part {
		e.ContentIndex = new(int)
	}
	return e
}

func (p *responder) delta(_ int, d *delta) error {
	for _, q := range d.parts {
		if err := p.part(q); err != nil {
			return err
		}
	}
	return nil
}

func (p *responder) finish(_ int, d *delta, _ *answer) error {
	if err := p.delta(0, d); err != nil {
		return err
	}
	return p.close()
}

// part adds to the item under way, or begins another one.
func (p *responder) part(q part) error {
	kind := q.Kind
	if kind == reply.Arguments {
		kind = reply.Call
	}
	if !p.open || kind != p.kind || q.Kind == reply.Call {
		if err := p.close(); err != nil {
			return err
		}
		if err := p.begin(kind, q); err != nil {
			return err
		}
	}
	if q.Kind == reply.Call {
		return nil
	}
	e := p.here(event{Delta: &q.Text}, kind != reply.Call)
	switch kind {
	case reply.Call:
		*p.item.Arguments += q.Text
		return p.send("function_call_arguments.delta", e)
	case reply.Thought:
		(*p.item.Content)[0].Text += q.Text
		return p.send("reasoning_text.delta", e)
	}
	(*p.item.Content)[0].Text += q.Text
	e.Logprobs = &[]any{}
	return p.send("output_text.delta", e)
}

// begin opens an item.
func (p *responder) begin(kind reply.Kind, q part) error {
	p.kind, p.open = kind, true
	it := &item{Status: "in_progress", Content: &[]contentPart{}}
	first := contentPart{Type: "output_text", Annotations: &[]any{}, Logprobs: &[]any{}}
	switch kind {
	case reply.Call:
		it.ID, it.Type, it.CallID, it.Name, it.Arguments, it.Content = p.s.newID("fc_"), "function_call", q.id, q.Text, new(string), nil
	case reply.Thought:
		it.ID, it.Type, it.Summary = p.s.newID("rs_"), "reasoning", &[]any{}
		first = contentPart{Type: "reasoning_text"}
	default:
		it.ID, it.Type, it.Role = p.s.newID("msg_"), "message", "assistant"
	}
	p.item = it
	e := p.here(event{Item: it}, false)
	e.ItemID = ""
	if err := p.send("output_item.added", e); err != nil || it.Content == nil {
		return err
	}
	*it.Content = append(*it.Content, first)
	return p.send("content_part.added", p.here(event{Part: &first}, true))
}

// close completes the item under way.
func (p *responder) close() error {
	if !p.open {
		return nil
	}
	p.open = false
	it := p.item
	it.Status = "completed"
	if err := p.done(it); err != nil {
		return err
	}
	e := p.here(event{Item: it}, false)
	e.ItemID = ""
	err := p.send("output_item.done", e)
	p.r.Output = append(p.r.Output, it)
	return err
}

// done tells an item's content as a whole.
func (p *responder) done(it *item) error {
	if it.Content == nil {
		return p.send("function_call_arguments.done", p.here(event{Name: it.Name, Arguments: it.Arguments}, false))
	}
	c := &(*it.Content)[0]
	e, name := p.here(event{Text: &c.Text}, true), "reasoning_text.done"
	if p.kind == reply.Text {
		e.Logprobs, name = &[]any{}, "output_text.done"
	}
	if err := p.send(name, e); err != nil {
		return err
	}
	return p.send("content_part.done", p.here(event{Part: c}, true))
}

// end completes the response.
func (p *responder) end(a *answer) {
	p.r.Status = "completed"
	if a.finish == "length" {
		p.r.Status, p.r.Incomplete = "incomplete", &incompleteDetails{Reason: "max_output_tokens"}
	}
	all := usageOf([]*answer{a})
	u := &responseUsage{Input: all.PromptTokens, Output: all.CompletionTokens, Total: all.TotalTokens}
	u.OutputDetails.Reasoning = all.Details.Reasoning
	p.r.Usage, p.r.Metrics = u, metricsOf([]*answer{a}, p.s.models.draft())
}

// stream answers with server-sent events.
func (p *responder) stream(w http.ResponseWriter, r *http.Request, tools *toolset) error {
	p.out = newStream(w, p.s.c.Heartbeat, p.s.c.WriteTimeout)
	defer p.out.close()
	answers, err := p.s.generate(r.Context(), p.j, tools, &opening{responder: p})
	if err != nil {
		p.out.fail(errorOf(err, p.j.name), p.failed)
		return err
	}
	p.end(answers[0])
	_ = p.send(p.r.Status, event{Response: p.r}) // a client that is gone needs no end
	return nil
}

// failed is the event that a stream ends with when it fails.
func (p *responder) failed(e *apiError) (string, any) {
	code := e.Type
	if e.Code != nil {
		code = *e.Code
	}
	return "error", map[string]any{"type": "error", "sequence_number": p.sequence, "code": code, "message": e.Message, "param": e.Param, "error": e}
}

// opening sends the events that open a stream before the first that comes.
type opening struct {
	*responder
	begun bool
}

func (o *opening) begin() error {
	if o.begun {
		return nil
	}
	o.begun = true
	if err := o.send("created", event{Response: o.r}); err != nil {
		return err
	}
	return o.send("in_progress", event{Response: o.r})
}

func (o *opening) delta(choice int, d *delta) error {
	if err := o.begin(); err != nil {
		return err
	}
	return o.responder.delta(choice, d)
}

func (o *opening) finish(choice int, d *delta, a *answer) error {
	if err := o.begin(); err != nil {
		return err
	}
	return o.responder.finish(choice, d, a)
}

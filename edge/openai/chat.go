package openai

import (
	"encoding/json"
	"net/http"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// chatMessage is an answer, whole or in part.
type chatMessage struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatChoice struct {
	Index   int         `json:"index"`
	Message chatMessage `json:"message"`
	Finish  string      `json:"finish_reason"`
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
	Index  int         `json:"index"`
	Delta  chatMessage `json:"delta"`
	Finish *string     `json:"finish_reason"`
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

// outrider tells of each token how it came, and what is expected next.
type outrider struct {
	Tokens   []token   `json:"tokens,omitempty"`
	Pending  *string   `json:"pending,omitempty"`
	Progress *progress `json:"progress,omitempty"`
}

type token struct {
	ID         int32  `json:"id"`
	Text       string `json:"text"`
	Fate       string `json:"fate"`
	Late       bool   `json:"late,omitempty"`
	Unverified bool   `json:"unverified,omitempty"`
}

// progress is edge.Progress as JSON.
type progress struct {
	At       float64 `json:"at_ms"`
	Linked   bool    `json:"linked"`
	Alone    bool    `json:"alone"`
	Tokens   int     `json:"tokens"`
	Depth    int     `json:"depth"`
	Passes   int     `json:"passes"`
	Step     float64 `json:"step_ms"`
	Plain    float64 `json:"plain_step_ms"`
	Uplink   int     `json:"uplink_bytes"`
	Downlink int     `json:"downlink_bytes"`
	Resumes  int     `json:"resumes"`
	RTT      float64 `json:"rtt_ms"`
}

// fateOf is a fate's word on the wire.
func fateOf(f speculative.Fate) string {
	return [...]string{"unknown", "accepted", "correction", "bonus", "run_ahead"}[min(f, 4)]
}

func tokensOf(list []edge.GeneratedToken) []token {
	out := make([]token, len(list))
	for i, t := range list {
		out[i] = token{ID: t.ID, Text: t.Text, Fate: fateOf(t.Fate), Late: t.Late, Unverified: t.Unverified}
	}
	return out
}

// outriderOf is the part of a chunk that the request's extension asks for, nil when nothing.
func (x extension) outriderOf(d *delta) *outrider {
	if !x.tokens && !x.pending && !x.progress {
		return nil
	}
	o := &outrider{}
	if x.tokens {
		o.Tokens = tokensOf(d.tokens)
	}
	if x.pending {
		o.Pending = &d.pending
	}
	if p := d.progress; x.progress {
		o.Progress = &progress{At: ms(p.At), Linked: p.Linked, Alone: p.Alone, Tokens: p.Tokens, Depth: p.Depth, Passes: p.Passes,
			Step: ms(p.Step), Plain: ms(p.Plain), Uplink: p.Uplink, Downlink: p.Downlink, Resumes: p.Resumes, RTT: ms(p.RTT)}
	}
	return o
}

// chat is POST /v1/chat/completions.
func (s *server) chat(w http.ResponseWriter, r *http.Request, o *object) error {
	j := &job{id: s.newID("chatcmpl-")}
	j.r.Messages = o.conversation("messages")
	s.common(r.Context(), o, j)
	j.r.MaxTokens = o.limit(0, "max_completion_tokens", "max_tokens")
	o.unsupported("tools", "functions", "response_format", "logprobs", "top_logprobs", "audio", "modalities")
	if *o.err != nil {
		(*o.err).write(w)
		return *o.err
	}
	if j.stream {
		return s.chatStream(w, r, j)
	}
	c := &tokenCollector{}
	answers, err := s.run(r.Context(), j, c)
	if err != nil {
		errorOf(err, j.name).write(w)
		return err
	}
	out := chatCompletion{ID: j.id, Object: "chat.completion", Created: j.created, Model: j.name, Usage: usageOf(answers),
		Metrics: metricsOf(answers, s.models.draft())}
	for i, a := range answers {
		text := a.text.String()
		out.Choices = append(out.Choices, chatChoice{Index: i, Message: chatMessage{Role: "assistant", Content: &text}, Finish: a.finish})
	}
	if j.ext.tokens {
		out.Outrider = &outrider{Tokens: tokensOf(c.tokens)}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// tokenCollector keeps the first choice's tokens.
type tokenCollector struct{ tokens []edge.GeneratedToken }

func (c *tokenCollector) delta(choice int, d *delta) error {
	if choice == 0 {
		c.tokens = append(c.tokens, d.tokens...)
	}
	return nil
}

func (c *tokenCollector) finish(int, *answer) error { return nil }

// chatStream answers with server-sent events.
func (s *server) chatStream(w http.ResponseWriter, r *http.Request, j *job) error {
	out := newStream(w, s.c.Heartbeat, s.c.WriteTimeout)
	defer out.close()
	c := &chatSink{s: s, j: j, out: out, begun: make([]bool, j.n)}
	answers, err := s.run(r.Context(), j, c)
	if err != nil {
		out.fail(errorOf(err, j.name), func(e *apiError) (string, any) { return "", map[string]any{"error": e} })
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
	if d.text == "" && o == nil {
		return nil
	}
	if err := c.begin(choice); err != nil {
		return err
	}
	k := c.chunk()
	k.Choices, k.Outrider = []chunkChoice{{Index: choice}}, o
	if d.text != "" {
		k.Choices[0].Delta.Content = &d.text
	}
	return c.out.send("", k)
}

func (c *chatSink) finish(choice int, a *answer) error {
	if err := c.begin(choice); err != nil {
		return err
	}
	k := c.chunk()
	k.Choices = []chunkChoice{{Index: choice, Finish: &a.finish}}
	if c.finished = append(c.finished, a); len(c.finished) == c.j.n && !c.j.usage {
		k.Metrics = metricsOf(c.finished, c.s.models.draft())
	}
	return c.out.send("", k)
}

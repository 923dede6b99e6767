package openai

import (
	"encoding/json"
	"net/http"

	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/edge"
)

// completionChoice is a choice of /v1/completions, whole or in part.
type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	Logprobs *completionLogprobs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
}

type completion struct {
	ID       string             `json:"id"`
	Object   string             `json:"object"`
	Created  int64              `json:"created"`
	Model    string             `json:"model"`
	Choices  []completionChoice `json:"choices"`
	Usage    json.RawMessage    `json:"usage,omitempty"`
	Metrics  *metrics           `json:"metrics,omitempty"`
	Outrider *outrider          `json:"outrider,omitempty"`
}

// defaultMaxTokens is OpenAI's for /v1/completions.
const defaultMaxTokens = 16

// completions is POST /v1/completions.
func (s *server) completions(w http.ResponseWriter, r *http.Request, o *object) error {
	j := &job{id: s.newID("cmpl-")}
	s.common(r.Context(), o, j)
	j.prompts = o.prompts("prompt", s.c.MaxChoices)
	j.r.MaxTokens = o.limit(defaultMaxTokens, "max_tokens", "max_completion_tokens")
	if o.has("logprobs") {
		j.r.Logprobs = 1 + int(o.whole("logprobs", 0, 0, maxLogprobs))
	}
	if o.flag("echo", false) {
		o.fail("echo", "unsupported_parameter", "'echo' is not supported: put the prompt before the answer yourself")
	}
	if o.whole("best_of", int64(j.n), 1, 1<<31) != int64(j.n) {
		o.fail("best_of", "unsupported_parameter", "'best_of' is not supported: use n")
	}
	if o.text("suffix") != "" {
		o.fail("suffix", "unsupported_parameter", "'suffix' is not supported: leave it out")
	}
	s.constrained(o, j, nil, o.format("response_format", false), o.structured("structured_outputs"))
	if *o.err == nil && j.choices() > s.c.MaxChoices {
		o.fail("n", "invalid_value", "%d prompts with n %d are %d choices, at most %d are allowed", len(j.prompts), j.n, j.choices(), s.c.MaxChoices)
	}
	if *o.err != nil {
		(*o.err).write(w)
		return *o.err
	}
	if j.stream {
		return s.completionStream(w, r, j)
	}
	answers, err := s.generate(r.Context(), j, nil, nothing{})
	if err != nil {
		errorOf(err, j.name).write(w)
		return err
	}
	out := j.completion()
	out.Usage, _ = json.Marshal(usageOf(answers)) // of numbers, never fails
	out.Metrics = metricsOf(answers, s.models.draft())
	for i, a := range answers {
		c := completionChoice{Index: i, Text: a.text.String(), Finish: &a.finish}
		if j.r.Logprobs > 0 {
			c.Logprobs = newCompletionLogprobs()
			c.Logprobs.add(j.tok, a.tokens, 0)
		}
		out.Choices = append(out.Choices, c)
	}
	if j.ext.tokens {
		out.Outrider = &outrider{Tokens: tokensOf(answers[0].tokens)}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// prompts reads a text, tokens, or an array of either.
func (o *object) prompts(name string, most int) []prompt {
	if !o.has(name) {
		o.fail(name, "missing_required_parameter", "missing required parameter: '%s%s'", o.path, name)
		return nil
	}
	var text string
	var tokens []edge.Token
	var texts []string
	var lists [][]edge.Token
	raw := o.m[name]
	var out []prompt
	switch {
	case json.Unmarshal(raw, &text) == nil:
		out = []prompt{{text: text}}
	case json.Unmarshal(raw, &tokens) == nil && len(tokens) > 0:
		out = []prompt{{tokens: tokens}}
	case json.Unmarshal(raw, &texts) == nil:
		for _, s := range texts {
			out = append(out, prompt{text: s})
		}
	case json.Unmarshal(raw, &lists) == nil:
		for _, l := range lists {
			out = append(out, prompt{tokens: l})
		}
	default:
		o.wrong(name, "a string, an array of strings, or an array of token ids")
		return nil
	}
	if len(out) == 0 || len(out) > most {
		o.fail(name, "invalid_value", "'%s%s' has %d prompts, 1 to %d are allowed", o.path, name, len(out), most)
	}
	for _, p := range out {
		if p.text == "" && len(p.tokens) == 0 {
			o.fail(name, "invalid_value", "'%s%s' is empty: give it at least one character", o.path, name)
		}
	}
	return out
}

func (j *job) completion() *completion {
	return &completion{ID: j.id, Object: "text_completion", Created: j.created, Model: j.name}
}

func (s *server) completionStream(w http.ResponseWriter, r *http.Request, j *job) error {
	out := newStream(w, s.c.Heartbeat, s.c.WriteTimeout)
	defer out.close()
	c := &completionSink{s: s, j: j, out: out}
	answers, err := s.generate(r.Context(), j, nil, c)
	if err != nil {
		out.fail(errorOf(err, j.name), errorChunk)
		return err
	}
	if j.usage {
		last := c.chunk()
		last.Choices = []completionChoice{}
		last.Usage, _ = json.Marshal(usageOf(answers)) // of numbers, never fails
		last.Metrics = metricsOf(answers, s.models.draft())
		_ = out.send("", last) // a client that is gone needs no end
	}
	out.done()
	return nil
}

// completionSink writes chunks.
type completionSink struct {
	s        *server
	j        *job
	out      *stream
	finished []*answer
}

func (c *completionSink) chunk() *completion {
	k := c.j.completion()
	if c.j.usage {
		k.Usage = json.RawMessage("null")
	}
	return k
}

func textOf(parts []part) string {
	text := ""
	for _, p := range parts {
		if p.Kind == reply.Text {
			text += p.Text
		}
	}
	return text
}

func (c *completionSink) delta(choice int, d *delta) error {
	k, text := c.chunk(), textOf(d.parts)
	k.Outrider = c.j.ext.outriderOf(d)
	one := completionChoice{Index: choice, Text: text}
	if c.j.r.Logprobs > 0 && len(d.tokens) > 0 {
		one.Logprobs = newCompletionLogprobs()
		one.Logprobs.add(c.j.tok, d.tokens, d.at)
	}
	if text == "" && k.Outrider == nil && one.Logprobs == nil {
		return nil
	}
	k.Choices = []completionChoice{one}
	return c.out.send("", k)
}

func (c *completionSink) finish(choice int, d *delta, a *answer) error {
	k := c.chunk()
	k.Choices = []completionChoice{{Index: choice, Text: textOf(d.parts), Finish: &a.finish}}
	if c.finished = append(c.finished, a); len(c.finished) == c.j.choices() && !c.j.usage {
		k.Metrics = metricsOf(c.finished, c.s.models.draft())
	}
	return c.out.send("", k)
}

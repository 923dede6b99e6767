package openai

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// job is a request in the edge's terms.
type job struct {
	id      string
	created int64
	model   string // as asked for; empty: the default
	name    string // as the answer calls it
	r       edge.Request
	n       int
	prompts []prompt // of /v1/completions, which takes several
	stream  bool
	usage   bool // a stream ends with the usage
	ext     extension
	reads   bool                 // thoughts and calls are told apart from text
	keep    bool                 // tokens are kept for the end
	style   reply.Style          // how the model writes them
	tools   []reply.Tool         // that it may call
	markers map[int32]string     // control tokens that mean something in the style
	tok     *tokenizer.Tokenizer // nil: not needed, or there is none
}

// prompt is text, or tokens.
type prompt struct {
	text   string
	tokens []edge.Token
}

// choices is how many answers there are.
func (j *job) choices() int { return max(1, len(j.prompts)) * j.n }

// extension is what a request asks of Outrider beyond OpenAI's protocol, in its field "outrider".
type extension struct {
	tokens, pending, progress bool
}

// common reads the parameters that all endpoints share.
func (s *server) common(ctx context.Context, o *object, j *job) {
	j.created = s.now().Unix()
	j.model = o.text("model")
	j.r.Model = j.model
	if j.r.User = o.text("user"); caller(ctx) != "" { // keys keep their users apart
		j.r.User = caller(ctx) + " " + j.r.User
	}
	j.stream = o.flag("stream", false)
	so := o.sub("stream_options")
	j.usage = so.flag("include_usage", false)
	s.sampling(o, &j.r.Params)
	j.n = int(o.whole("n", 1, 1, int64(s.c.MaxChoices)))
	j.r.Stop = o.stops("stop")
	j.r.Prediction = o.prediction("prediction")
	j.mode(ctx, o)
	s.extension(o.sub("outrider"), j)
	if _, only := s.onDevice(j.r.Mode, ""); only && j.model == "" {
		j.name = "outrider" // no cloud is asked
	} else if *o.err == nil {
		j.name = s.models.name(ctx, j.model)
	}
}

// sampling reads the sampling parameters. OpenAI's defaults are those of the whole distribution.
func (s *server) sampling(o *object, p *speculative.Params) {
	p.Temperature = float32(o.number("temperature", 1, 0, 100))
	p.TopP = float32(o.number("top_p", 1, 0, 1))
	p.TopK = int(max(0, o.whole("top_k", 0, -1, math.MaxInt32))) // -1: off, as vLLM has it
	p.MinP = float32(o.number("min_p", 0, 0, 1))
	p.PresencePenalty = float32(o.number("presence_penalty", 0, -10, 10))
	p.FrequencyPenalty = float32(o.number("frequency_penalty", 0, -10, 10))
	p.RepetitionPenalty = float32(o.number("repetition_penalty", 1, 0, 10))
	p.Seed = rand.Uint64()
	if o.has("seed") {
		p.Seed = uint64(o.whole("seed", 0, math.MinInt64, math.MaxInt64))
	}
	p.LogitBias = o.biases("logit_bias")
}

// maxBias is how many tokens a request may bias.
const maxBias = 1024

func (o *object) biases(name string) map[speculative.Token]float32 {
	b := o.sub(name)
	if len(b.m) > maxBias {
		o.fail(name, "invalid_value", "'%s%s' has %d entries, at most %d are allowed", o.path, name, len(b.m), maxBias)
	}
	if len(b.m) == 0 || *o.err != nil {
		return nil
	}
	out := make(map[speculative.Token]float32, len(b.m))
	for key := range b.m {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 {
			o.fail(name, "invalid_value", "'%s%s' has the key %.50q, which is no token id", o.path, name, key)
			return nil
		}
		out[speculative.Token(id)] = float32(b.number(key, 0, -100, 100))
	}
	return out
}

// maxStops is how many stop strings clouds take.
const maxStops = 16

func (o *object) stops(name string) []string {
	stops := o.texts(name, maxStops)
	for _, s := range stops {
		if s == "" || len(s) > 256 {
			o.fail(name, "invalid_value", "'%s%s' has a string of %d bytes: 1 to 256 are allowed", o.path, name, len(s))
		}
	}
	return stops
}

// limit reads how many tokens an answer may have, under the first name that is there.
func (o *object) limit(def int, names ...string) int {
	for _, name := range names {
		if o.has(name) {
			return int(o.whole(name, 0, 1, math.MaxInt32))
		}
	}
	return def
}

func (s *server) extension(o *object, j *job) {
	o.only("tokens", "pending", "progress", "no_draft", "ignore_end", "hold", "depth", "run_ahead", "deadline_ms", "rule", "threshold",
		"objective", "fallback", "mode", "privacy")
	j.ext = extension{tokens: o.flag("tokens", false), pending: o.flag("pending", false), progress: o.flag("progress", false)}
	j.r.Pending = j.ext.pending
	j.r.NoDraft = o.flag("no_draft", false)
	j.r.IgnoreEnd = o.flag("ignore_end", false)
	j.r.Hold = int(o.whole("hold", 0, -1, 1<<16))
	j.r.Depth = int(o.whole("depth", 0, 0, maxDepth))
	j.r.MaxPassesPerToken = o.number("run_ahead", 0, 0, 1)
	j.r.Deadline = time.Duration(o.number("deadline_ms", 0, 0, 1e9) * float64(time.Millisecond))
	j.r.Rule = o.rule()
	j.r.Objective = o.objective()
	fallback, err := edge.ParseFallback(o.text("fallback"))
	if err != nil {
		o.fail("fallback", "invalid_value", "%s", requestError(err).Message)
	}
	j.r.Fallback = fallback
}

// maxDepth that a request may ask for.
const maxDepth = 64

// prepare is the last step before a job runs: what needs the target's tokenizer.
func (s *server) prepare(ctx context.Context, j *job, tools *toolset) *apiError {
	j.keep = j.r.Logprobs > 0 || j.ext.tokens
	if j.reads || j.r.Logprobs > 0 {
		tok, err := s.tokenizer(ctx, j)
		if err != nil {
			return errorOf(err, j.model)
		}
		j.tok = tok
	}
	if j.reads {
		tools.apply(j, s.styles.of(j.tok, j.r.Variables))
		j.markers = markers(j.style, j.tok)
	}
	return nil
}

// unsupported refuses parameters that would change the answer and are not there.
func (o *object) unsupported(names ...string) {
	for _, name := range names {
		if o.has(name) {
			o.fail(name, "unsupported_parameter", "'%s%s' is not supported yet: leave it out", o.path, name)
		}
	}
}

// maxMessages of a conversation.
const maxMessages = 10000

// conversation reads the messages of a chat.
func (o *object) conversation(name string) []edge.Message {
	if !o.has(name) {
		o.fail(name, "missing_required_parameter", "missing required parameter: '%s%s'", o.path, name)
		return nil
	}
	list := o.list(name, maxMessages)
	if len(list) == 0 {
		o.fail(name, "invalid_value", "'%s%s' is empty: give it at least one message", o.path, name)
	}
	out := make([]edge.Message, 0, len(list))
	for i, raw := range list {
		m := o.element(at(name, i), raw)
		if *o.err != nil {
			return nil
		}
		out = append(out, m.message())
	}
	nameResults(out)
	return out
}

func (o *object) message() edge.Message {
	m := edge.Message{Role: o.must("role")}
	switch m.Role {
	case "system", "user":
	case "assistant":
		if m.Reasoning = o.text("reasoning_content"); m.Reasoning == "" {
			m.Reasoning = o.text("reasoning") // as some servers name it
		}
		m.ToolCalls = o.calls("tool_calls")
	case "tool":
		m.ToolCallID, m.Name = o.must("tool_call_id"), o.text("name")
	case "developer": // what newer clients call it
		m.Role = "system"
	default:
		o.fail("role", "invalid_value", "'%srole' is %.40q, must be system, developer, user, assistant or tool", o.path, m.Role)
	}
	if m.Content = o.content("content"); m.Content == "" && m.Role != "tool" && len(m.ToolCalls) == 0 {
		o.fail("content", "invalid_value", "'%scontent' is empty: give it at least one character", o.path)
	}
	return m
}

// calls reads those that an assistant made earlier.
func (o *object) calls(name string) []chat.ToolCall {
	var out []chat.ToolCall
	for i, raw := range o.list(name, maxTools) {
		e := o.element(at(name, i), raw)
		f := e.sub("function")
		c := chat.ToolCall{ID: e.text("id"), Name: f.must("name")}
		c.Arguments = f.arguments("arguments")
		out = append(out, c)
	}
	return out
}

// arguments reads a call's arguments, a JSON object written into a string.
func (o *object) arguments(name string) json.RawMessage {
	s := o.text(name)
	var v map[string]json.RawMessage
	if strings.TrimSpace(s) != "" && json.Unmarshal([]byte(s), &v) != nil {
		o.fail(name, "invalid_value", "'%s%s' is not a JSON object in a string", o.path, name)
	}
	b, _ := json.Marshal(s) // a string never fails
	return b
}

// nameResults gives each result the name of the function that was called, which some templates show.
func nameResults(messages []edge.Message) {
	names := map[string]string{}
	for i, m := range messages {
		for _, c := range m.ToolCalls {
			names[c.ID] = c.Name
		}
		if m.Role == "tool" && m.Name == "" {
			messages[i].Name = names[m.ToolCallID]
		}
	}
}

// maxVariables of a chat template.
const maxVariables = 32

// variables reads those of the chat template: texts, numbers and booleans.
func (o *object) variables(name string) map[string]any {
	v := o.sub(name)
	if len(v.m) > maxVariables {
		o.fail(name, "invalid_value", "'%s%s' has %d entries, at most %d are allowed", o.path, name, len(v.m), maxVariables)
		return nil
	}
	out := map[string]any{}
	for key, raw := range v.m {
		var x any
		switch json.Unmarshal(raw, &x); x.(type) { //nolint:errcheck // it was valid JSON as a whole
		case bool, string, float64:
			out[key] = x
		case nil:
		default:
			v.wrong(key, "a boolean, a number or a string")
		}
	}
	return out
}

// content reads a text, or parts of which only texts are taken.
func (o *object) content(name string) string {
	if !o.has(name) {
		return ""
	}
	var s string
	if json.Unmarshal(o.m[name], &s) == nil {
		return s
	}
	if kindOf(o.m[name]) != "an array" {
		o.wrong(name, "a string or an array of content parts")
		return ""
	}
	var b strings.Builder
	for i, raw := range o.list(name, maxMessages) {
		p := o.element(at(name, i), raw)
		switch kind := p.must("type"); kind {
		case "text", "input_text", "output_text":
			b.WriteString(p.text("text"))
		case "refusal":
			b.WriteString(p.text("refusal"))
		case "image_url", "input_image", "input_audio":
			if p.see == nil {
				p.fail("type", "unsupported_content", "'%stype' is %s: only texts are taken here", p.path, kind)
				return ""
			}
			b.WriteString(p.see.attachment(p, kind))
		case "file", "input_file", "audio":
			p.fail("type", "unsupported_content", "'%stype' is %s: this edge takes texts, images and recordings, leave files out", p.path, kind)
		default:
			p.fail("type", "invalid_value", "'%stype' is %.40q, must be text", p.path, kind)
		}
		if *o.err != nil {
			return ""
		}
	}
	return b.String()
}

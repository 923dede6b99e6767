package openai

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// job is a request in the edge's terms.
type job struct {
	id      string
	created int64
	model   string // as asked for; empty: the default
	name    string // as the answer calls it
	r       edge.Request
	n       int
	stream  bool
	usage   bool // a stream ends with the usage
	ext     extension
}

// extension is what a request asks of Outrider beyond OpenAI's protocol, in its field "outrider".
type extension struct {
	tokens, pending, progress bool
}

// common reads the parameters that all endpoints share.
func (s *server) common(ctx context.Context, o *object, j *job) {
	j.created = s.now().Unix()
	j.model = o.text("model")
	j.r.Model = j.model
	j.stream = o.flag("stream", false)
	so := o.sub("stream_options")
	j.usage = so.flag("include_usage", false)
	s.sampling(o, &j.r.Params)
	j.n = int(o.whole("n", 1, 1, int64(s.c.MaxChoices)))
	j.r.Stop = o.stops("stop")
	s.extension(o.sub("outrider"), j)
	if *o.err == nil {
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
	j.ext = extension{tokens: o.flag("tokens", false), pending: o.flag("pending", false), progress: o.flag("progress", false)}
	j.r.Pending = j.ext.pending
	j.r.NoDraft = o.flag("no_draft", false)
	j.r.IgnoreEnd = o.flag("ignore_end", false)
	j.r.Depth = int(o.whole("depth", 0, 0, maxDepth))
	j.r.MaxPassesPerToken = o.number("run_ahead", 0, 0, 1)
	j.r.Deadline = time.Duration(o.number("deadline_ms", 0, 0, 1e9) * float64(time.Millisecond))
	fallback, err := edge.ParseFallback(o.text("fallback"))
	if err != nil {
		o.fail("fallback", "invalid_value", "%s", requestError(err).Message)
	}
	j.r.Fallback = fallback
}

// maxDepth that a request may ask for.
const maxDepth = 64

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
	return out
}

func (o *object) message() edge.Message {
	m := edge.Message{Role: o.must("role")}
	switch m.Role {
	case "system", "user", "assistant":
	case "developer": // what newer clients call it
		m.Role = "system"
	default:
		o.fail("role", "invalid_value", "'%srole' is %.40q, must be system, developer, user, assistant or tool", o.path, m.Role)
	}
	m.Content = o.content("content")
	return m
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
		case "image_url", "input_image", "input_audio", "file", "input_file", "audio":
			p.fail("type", "unsupported_content", "'%stype' is %s: this edge takes text only, leave images, audio and files out", p.path, kind)
		default:
			p.fail("type", "invalid_value", "'%stype' is %.40q, must be text", p.path, kind)
		}
		if *o.err != nil {
			return ""
		}
	}
	return b.String()
}

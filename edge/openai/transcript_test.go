package openai

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

const askTools = `"tools":[{"type":"function","function":{"name":"weather","description":"Tells it","parameters":{"type":"object","properties":{"place":{"type":"string"}},"required":["place"]}}}],`

const flatTools = `"tools":[{"type":"function","name":"weather","parameters":{"type":"object","properties":{"place":{"type":"string"}}}}],`

const called = "<think>\nHm.\n</think>\nI look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"Zürich\"}}\n</tool_call>"

// Transcripts of whole answers, byte by byte.
func TestTranscripts(t *testing.T) {
	const chat, user = "/v1/chat/completions", `"messages":[{"role":"user","content":"Hi"}]`
	for name, c := range map[string]struct {
		path, body, answer string
		finish             speculative.Finish
	}{
		"chat":                {path: chat, body: `{` + user + `}`, answer: "Hello, Zürich!"},
		"chat-length":         {path: chat, body: `{"max_tokens":3,` + user + `}`, answer: "Hello, Zürich!"},
		"chat-stream":         {path: chat, body: `{"stream":true,` + user + `}`, answer: "Hello!"},
		"chat-stream-usage":   {path: chat, body: `{"stream":true,"stream_options":{"include_usage":true},` + user + `}`, answer: "Hello!"},
		"chat-stream-fates":   {path: chat, body: `{"stream":true,"outrider":{"tokens":true,"pending":true},` + user + `}`, answer: "Hello, Zürich!"},
		"chat-logprobs":       {path: chat, body: `{"logprobs":true,"top_logprobs":1,` + user + `}`, answer: "Hell"},
		"chat-tools":          {path: chat, body: `{` + askTools + user + `}`, answer: called},
		"chat-tools-stream":   {path: chat, body: `{"stream":true,` + askTools + user + `}`, answer: called},
		"chat-required":       {path: chat, body: `{"tool_choice":"required",` + askTools + user + `}`, answer: `[{"name": "weather", "arguments": {"place": "Bern"}}]`},
		"completion":          {path: "/v1/completions", body: `{"prompt":"Once"}`, answer: " upon <a> time"},
		"completion-stream":   {path: "/v1/completions", body: `{"prompt":["Once","Twice"],"stream":true,"stream_options":{"include_usage":true},"outrider":{"tokens":true}}`, answer: " up"},
		"completion-logprobs": {path: "/v1/completions", body: `{"prompt":[1,2,3],"logprobs":2}`, answer: "abcd"},
		"response":            {path: "/v1/responses", body: `{"input":"Hi","instructions":"Be brief.","metadata":{"a":"b"}}`, answer: "Hello!"},
		"response-stream":     {path: "/v1/responses", body: `{"input":"Hi","stream":true}`, answer: "Hello!"},
		"response-length":     {path: "/v1/responses", body: `{"input":"Hi","max_output_tokens":2}`, answer: "Hello!"},
		"response-tools":      {path: "/v1/responses", body: `{"input":"Hi","stream":true,` + flatTools + `"temperature":0}`, answer: called},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.answer)
			f.tok = demoTokenizer(t)
			a := serve(t, f, Config{})
			code, got := a.post(c.path, c.body)
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, got)
			}
			golden(t, name+".txt", byChoice(got))
		})
	}
}

// byChoice puts a stream's events in the order of their choices, which are generated at the same time.
func byChoice(stream string) string {
	events := strings.SplitAfter(stream, "\n\n")
	index := func(event string) int {
		_, rest, ok := strings.Cut(event, `"choices":[{"index":`)
		if !ok {
			return math.MaxInt
		}
		n, _, _ := strings.Cut(rest, ",")
		i, _ := strconv.Atoi(n) // the golden file shows what it is
		return i
	}
	first, last := slices.IndexFunc(events, func(e string) bool { return index(e) < math.MaxInt }), len(events)
	if first < 0 {
		return stream
	}
	for last > 0 && index(events[last-1]) == math.MaxInt {
		last--
	}
	slices.SortStableFunc(events[first:last], func(a, b string) int { return cmp.Compare(index(a), index(b)) })
	return strings.Join(events, "")
}

func TestChoices(t *testing.T) {
	f := newFake(t, "")
	f.answer = func(r edge.Request) (string, error) { return strings.Repeat("ab", int(r.Params.Choice)+1), nil }
	a := serve(t, f, Config{})
	_, got := a.post("/v1/chat/completions", `{"n":3,"seed":5,"messages":[{"role":"user","content":"Hi"}]}`)
	for i, want := range []string{`"index":0,"message":{"role":"assistant","content":"ab",`, `"index":1,"message":{"role":"assistant","content":"abab",`,
		`"index":2,"message":{"role":"assistant","content":"ababab",`, `"prompt_tokens":7,"completion_tokens":6,"total_tokens":13`} {
		if !strings.Contains(got, want) {
			t.Errorf("%d: no %s in %s", i, want, got)
		}
	}
	_, got = a.post("/v1/chat/completions", `{"n":2,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`)
	if strings.Count(got, `"index":1,`) != 4 || strings.Count(got, `"index":0,`) != 3 || strings.Count(got, `"metrics"`) != 1 || strings.Count(got, `"role":"assistant"`) != 2 {
		t.Errorf("%s", got)
	}
	if f.last.Load().Params.Seed == 5 {
		t.Error("the seed stayed")
	}
}

package openai

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/outrider-llm/outrider/speculative"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrider-llm/outrider/edge"
)

// wantError checks an error's shape.
func wantError(t *testing.T, name string, code int, body string, want int, param, errCode string) {
	t.Helper()
	var v struct {
		Error *struct {
			Message, Type string
			Param, Code   *string
		}
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil || v.Error == nil {
		t.Fatalf("%s: %d, no error in %s (%v)", name, code, body, err)
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	e := v.Error
	if code != want || text(e.Param) != param || text(e.Code) != errCode || e.Message == "" || e.Type == "" || strings.Contains(e.Message, "\n") {
		t.Errorf("%s: %d %s, want %d, param %q, code %q", name, code, body, want, param, errCode)
	}
}

func TestInvalidRequests(t *testing.T) {
	f := newFake(t, "Hello")
	f.tok = demoTokenizer(t)
	a := serve(t, f, Config{MaxBody: 100_000})
	const chat, completions, responses = "/v1/chat/completions", "/v1/completions", "/v1/responses"
	user := func(rest string) string { return `{"messages":[{"role":"user","content":"Hi"}]` + rest + `}` }
	for name, c := range map[string]struct {
		path, body  string
		status      int
		param, code string
	}{
		"no JSON":            {chat, `{`, 400, "", "invalid_json"},
		"list":               {chat, `[]`, 400, "", "invalid_json"},
		"null":               {chat, `null`, 400, "", "invalid_json"},
		"UTF-8":              {chat, "{\"a\":\"\xff\"}", 400, "", "invalid_json"},
		"no messages":        {chat, `{}`, 400, "messages", "missing_required_parameter"},
		"empty messages":     {chat, `{"messages":[]}`, 400, "messages", "invalid_value"},
		"messages type":      {chat, `{"messages":"Hi"}`, 400, "messages", "invalid_type"},
		"message type":       {chat, `{"messages":["Hi"]}`, 400, "messages[0]", "invalid_type"},
		"role":               {chat, `{"messages":[{"role":"robot","content":"x"}]}`, 400, "messages[0].role", "invalid_value"},
		"no role":            {chat, `{"messages":[{"content":"x"}]}`, 400, "messages[0].role", "missing_required_parameter"},
		"content":            {chat, `{"messages":[{"role":"user","content":{"a":1}}]}`, 400, "messages[0].content", "invalid_type"},
		"no content":         {chat, `{"messages":[{"role":"user"}]}`, 400, "messages[0].content", "invalid_value"},
		"image":              {chat, `{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:"}}]}]}`, 400, "messages[0].content[1].image_url", "invalid_media"},
		"audio":              {chat, `{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`, 400, "messages[0].content[0].input_audio.data", "missing_required_parameter"},
		"part":               {chat, `{"messages":[{"role":"user","content":[{"type":"smell"}]}]}`, 400, "messages[0].content[0].type", "invalid_value"},
		"tool without id":    {chat, `{"messages":[{"role":"tool","content":"x"}]}`, 400, "messages[0].tool_call_id", "missing_required_parameter"},
		"broken arguments":   {chat, `{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}]}`, 400, "messages[0].tool_calls[0].function.arguments", "invalid_value"},
		"temperature type":   {chat, user(`,"temperature":"hot"`), 400, "temperature", "invalid_type"},
		"temperature":        {chat, user(`,"temperature":-1`), 400, "temperature", "invalid_value"},
		"temperature size":   {chat, user(`,"temperature":1e999`), 400, "temperature", "invalid_type"},
		"top_p":              {chat, user(`,"top_p":1.5`), 400, "top_p", "invalid_value"},
		"max_tokens":         {chat, user(`,"max_tokens":0`), 400, "max_tokens", "invalid_value"},
		"max_tokens half":    {chat, user(`,"max_tokens":1.5`), 400, "max_tokens", "invalid_type"},
		"max_completion":     {chat, user(`,"max_completion_tokens":-3`), 400, "max_completion_tokens", "invalid_value"},
		"n":                  {chat, user(`,"n":1000`), 400, "n", "invalid_value"},
		"stop":               {chat, user(`,"stop":[""]`), 400, "stop", "invalid_value"},
		"stop type":          {chat, user(`,"stop":["a",3]`), 400, "stop[1]", "invalid_type"},
		"stops":              {chat, user(`,"stop":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]`), 400, "stop", "array_above_max_length"},
		"seed":               {chat, user(`,"seed":"x"`), 400, "seed", "invalid_type"},
		"bias":               {chat, user(`,"logit_bias":{"x":1}`), 400, "logit_bias", "invalid_value"},
		"bias value":         {chat, user(`,"logit_bias":{"1":1000}`), 400, "logit_bias.1", "invalid_value"},
		"stream":             {chat, user(`,"stream":"yes"`), 400, "stream", "invalid_type"},
		"stream_options":     {chat, user(`,"stream_options":7`), 400, "stream_options", "invalid_type"},
		"top_logprobs":       {chat, user(`,"logprobs":true,"top_logprobs":50`), 400, "top_logprobs", "invalid_value"},
		"format":             {chat, user(`,"response_format":{"type":"xml"}`), 400, "response_format.type", "invalid_value"},
		"no schema":          {chat, user(`,"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`), 400, "response_format.json_schema.schema", "missing_required_parameter"},
		"schema type":        {chat, user(`,"response_format":{"type":"json_schema","json_schema":{"schema":[]}}`), 400, "response_format.json_schema.schema", "invalid_type"},
		"tools":              {chat, user(`,"tools":{}`), 400, "tools", "invalid_type"},
		"tool type":          {chat, user(`,"tools":[{"type":"web_search"}]`), 400, "tools[0].type", "unsupported_tool"},
		"tool name":          {chat, user(`,"tools":[{"type":"function","function":{"name":"a b"}}]`), 400, "tools[0].function.name", "invalid_value"},
		"tool twice":         {chat, user(`,"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]`), 400, "tools[1].function.name", "invalid_value"},
		"tool parameters":    {chat, user(`,"tools":[{"type":"function","function":{"name":"a","parameters":"x"}}]`), 400, "tools[0].function.parameters", "invalid_type"},
		"tool_choice":        {chat, user(`,"tool_choice":"maybe"`), 400, "tool_choice", "invalid_value"},
		"required":           {chat, user(`,"tool_choice":"required"`), 400, "tool_choice", "invalid_value"},
		"unknown choice":     {chat, user(`,"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"function","function":{"name":"b"}}`), 400, "tool_choice.function.name", "invalid_value"},
		"functions":          {chat, user(`,"functions":[]`), 400, "functions", "unsupported_parameter"},
		"modalities":         {chat, user(`,"modalities":["text","audio"]`), 501, "modalities", "perception_unavailable"},
		"fallback":           {chat, user(`,"outrider":{"fallback":"cry"}`), 400, "outrider.fallback", "invalid_value"},
		"variables":          {chat, user(`,"chat_template_kwargs":{"a":[]}`), 400, "chat_template_kwargs.a", "invalid_type"},
		"model":              {chat, user(`,"model":"gpt-4o"`), 404, "model", "model_not_found"},
		"model type":         {chat, user(`,"model":7`), 400, "model", "invalid_type"},
		"large":              {chat, user(`,"x":"` + strings.Repeat("x", 100_000) + `"`), 413, "", "request_too_large"},
		"prompt":             {completions, `{}`, 400, "prompt", "missing_required_parameter"},
		"prompt type":        {completions, `{"prompt":{"a":1}}`, 400, "prompt", "invalid_type"},
		"empty prompt":       {completions, `{"prompt":""}`, 400, "prompt", "invalid_value"},
		"no prompts":         {completions, `{"prompt":[]}`, 400, "prompt", "invalid_value"},
		"echo":               {completions, `{"prompt":"x","echo":true}`, 400, "echo", "unsupported_parameter"},
		"best_of":            {completions, `{"prompt":"x","best_of":3}`, 400, "best_of", "unsupported_parameter"},
		"input":              {responses, `{}`, 400, "input", "missing_required_parameter"},
		"input type":         {responses, `{"input":[{"type":"item_reference"}]}`, 400, "input[0].type", "unsupported_value"},
		"previous":           {responses, `{"input":"x","previous_response_id":"resp_1"}`, 400, "previous_response_id", "unsupported_parameter"},
		"background":         {responses, `{"input":"x","background":true}`, 400, "background", "unsupported_parameter"},
		"embeddings":         {"/v1/embeddings", `{"input":"x"}`, 501, "", "unsupported_endpoint"},
		"unknown":            {"/v1/audio/translations", `{}`, 404, "", "unknown_url"},
		"two constraints":    {chat, user(`,"response_format":{"type":"json_object"},"structured_outputs":{"regex":"a"}`), 400, "structured_outputs", "invalid_value"},
		"call and format":    {chat, user(`,"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"required","response_format":{"type":"json_object"}`), 400, "tool_choice", "invalid_value"},
		"deep":               {chat, `{"messages":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, 400, "messages[0]", "invalid_type"},
		"unknown extension":  {chat, user(`,"outrider":{"privcy":"on_device"}`), 400, "outrider.privcy", "unknown_parameter"},
		"deadline":           {chat, user(`,"outrider":{"deadline_ms":-1}`), 400, "outrider.deadline_ms", "invalid_value"},
		"reasoning type":     {responses, `{"input":"x","reasoning":"much"}`, 400, "reasoning", "invalid_type"},
		"output of no call":  {responses, `{"input":[{"type":"function_call_output","output":"x"}]}`, 400, "input[0].call_id", "missing_required_parameter"},
		"more choices":       {completions, `{"prompt":["a","b","c","d","e"],"n":4}`, 400, "n", "invalid_value"},
		"a list as body":     {chat, `[{"role":"user"}]`, 400, "", "invalid_json"},
		"vLLM's grammar":     {chat, user(`,"structured_outputs":{"grammar":"root ::= x"}`), 400, "structured_outputs.grammar", "unsupported_parameter"},
		"older vLLM's":       {chat, user(`,"guided_regex":"a"`), 400, "guided_regex", "unsupported_parameter"},
		"vLLM's regex":       {chat, user(`,"structured_outputs":{"regex":7}`), 400, "structured_outputs.regex", "invalid_type"},
		"stream, bad model":  {chat, user(`,"stream":true,"model":"gpt-4o"`), 404, "model", "model_not_found"},
		"response, bad name": {responses, `{"input":"x","model":"gpt-4o","stream":true}`, 404, "model", "model_not_found"},
	} {
		code, body := a.post(c.path, c.body)
		wantError(t, name, code, body, c.status, c.param, c.code)
	}
	if f.active.Load() != 0 {
		t.Error("generations go on")
	}
}

// What the edge says becomes the right status.
func TestEdgeErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err         error
		status      int
		param, code string
		retry       string
	}{
		"cloud away": {fmt.Errorf("%w: gpu1 for 10s (connection refused): start it", edge.ErrNoCloud), 503, "", "service_unavailable", "2"},
		"busy":       {fmt.Errorf("%w: %w", edge.ErrNoCloud, edge.ErrBusy), 429, "", "rate_limit_exceeded", "1"},
		"closing":    {edge.ErrClosed, 503, "", "service_unavailable", "2"},
		"vocabulary": {fmt.Errorf("%w: use another draft", edge.ErrVocabulary), 503, "", "service_unavailable", ""},
		"parameters": {fmt.Errorf("%w: invalid sampling parameters: top_k is -1, must be 0 or more", edge.ErrRequest), 400, "top_k", "invalid_value", ""},
		"too long":   {fmt.Errorf("%w: the prompt has 9 tokens, the context of the target holds 8", edge.ErrRequest), 400, "", "context_length_exceeded", ""},
		"other":      {errors.New("two\nlines"), 500, "", "internal_error", ""},
	} {
		f := newFake(t, "")
		f.answer = func(edge.Request) (string, error) { return "", c.err }
		a := serve(t, f, Config{})
		for _, stream := range []string{"true", "false"} {
			resp, body := a.call("POST", "/v1/chat/completions", `{"stream":`+stream+`,"messages":[{"role":"user","content":"Hi"}]}`)
			wantError(t, name, resp.StatusCode, body, c.status, c.param, c.code)
			if got := resp.Header.Get("Retry-After"); got != c.retry {
				t.Errorf("%s: Retry-After %q, want %q", name, got, c.retry)
			}
		}
		f.answer = func(edge.Request) (string, error) { return "Hel", c.err } // in the middle
		for path, want := range map[string]string{"/v1/chat/completions": "data: {\"error\":{\"message\":", "/v1/responses": "event: error\ndata: {\"code\":"} {
			code, body := a.post(path, `{"stream":true,"input":"Hi","messages":[{"role":"user","content":"Hi"}]}`)
			if code != 200 || !strings.Contains(body, want) || strings.Contains(body, "[DONE]") || !strings.Contains(body, "He") {
				t.Errorf("%s: %d %s", name, code, body)
			}
		}
	}
}

func TestModelsAndStatus(t *testing.T) {
	f := newFake(t, "")
	reg := prometheus.NewRegistry()
	edge.NewMetrics(reg)
	a := serve(t, f, Config{Gatherer: reg, Page: http.NotFoundHandler()})
	for path, want := range map[string]string{
		"/health":              `{"status":"ok"}`,
		"/ready":               `{"status":"ready"}`,
		"/v1/models":           `{"data":[{"id":"big","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"org/other","object":"model","created":1700000000,"owned_by":"outrider"},{"id":"outrider","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"outrider:auto","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"outrider:cooperative","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"outrider:edge","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"outrider:prefer-edge","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"outrider:cloud","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096},{"id":"outrider:prefer-cloud","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096}],"object":"list"}`,
		"/v1/models/big":       `{"id":"big","object":"model","created":1700000000,"owned_by":"outrider","max_model_len":4096}`,
		"/v1/models/org/other": `{"id":"org/other","object":"model","created":1700000000,"owned_by":"outrider"}`,
		"/outrider/status":     `{"breaker":"closed","cloud":"gpu1:7600","cloud_pressure":0,"draft":"small","draft_numerics":"n/1","fallback":"","mode":"cooperative","model":"big","note":"","perception":{"engine":"off","missing":["perception is off: set perception.engine to local or openai-http"],"reads":false,"speaks":false,"transcribes":false},"rtt_ms":12.5,"supports":{"acceptance":["coupled","rejection","lenient"],"fallback":["wait","fail","draft"],"max_depth":64,"modes":["cooperative","auto","prefer_on_device","only_on_device","prefer_in_cloud","only_in_cloud"],"objectives":["latency","cost","energy","balanced"]},"targets":[{"name":"big","vocabulary":"v","context_length":4096,"numerics":"n/1"},{"name":"org/other","vocabulary":"","context_length":0,"numerics":""}]}`,
		"/metrics":             "# HELP outrider_edge_active_requests",
	} {
		resp, body := a.call("GET", path, "")
		if resp.StatusCode != 200 || !strings.HasPrefix(strings.TrimSpace(body), want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	resp, body := a.call("GET", "/v1/models/none", "")
	wantError(t, "model", resp.StatusCode, body, 404, "model", "model_not_found")
	resp, body = a.call("GET", "/v1/chat/completions", "")
	wantError(t, "method", resp.StatusCode, body, 405, "", "method_not_allowed")
	if resp.Header.Get("Allow") != "POST" {
		t.Error(resp.Header)
	}
	// With the cloud away what was told before still counts, but the edge is not ready.
	f.status.Targets, f.status.Note = nil, "no cloud in reach"
	a.s.models.at = time.Time{}
	if resp, _ := a.call("GET", "/v1/models", ""); resp.StatusCode != 200 {
		t.Error(resp.StatusCode)
	}
	resp, body = a.call("GET", "/ready", "")
	wantError(t, "ready", resp.StatusCode, body, 503, "", "service_unavailable")
	if _, body := a.call("GET", "/outrider/status", ""); !strings.Contains(body, `"mode":"none"`) {
		t.Error(body)
	}
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "keys")
	if _, err := OpenKeys(file); !errors.Is(err, ErrKeys) {
		t.Error(err)
	}
	key, err := AddKey(file, "laptop", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"laptop", "a b", "", "#x"} {
		if _, err := AddKey(file, name, time.Now()); !errors.Is(err, ErrKeys) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), key) || !strings.Contains(string(b), HashKey(key)) {
		t.Errorf("%s %v", b, err)
	}
	keys, err := OpenKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	a := serve(t, newFake(t, "x"), Config{Keys: keys})
	status := func(path, auth string) int {
		resp, body := a.call("GET", path, "", "Authorization", auth, "Host", "edge.example.org")
		if resp.StatusCode == 401 {
			wantError(t, path, 401, body, 401, "", "invalid_api_key")
		}
		return resp.StatusCode
	}
	for path, want := range map[string]int{"/v1/models": 401, "/outrider/status": 401, "/health": 200, "/ready": 200} {
		if got := status(path, ""); got != want {
			t.Errorf("%s without a key: %d", path, got)
		}
		if got := status(path, "Bearer "+key); got != 200 {
			t.Errorf("%s with the key: %d", path, got)
		}
		for _, wrong := range []string{"Bearer " + key + "x", "Basic " + key, key, "Bearer"} {
			if got := status(path, wrong); got != want {
				t.Errorf("%s with %s: %d", path, wrong, got)
			}
		}
	}
	if err := RemoveKey(file, "laptop"); err != nil {
		t.Fatal(err)
	}
	if err := RemoveKey(file, "laptop"); !errors.Is(err, ErrKeys) {
		t.Error(err)
	}
	keys.checked = time.Time{}
	if got := status("/v1/models", "bearer "+key); got != 401 {
		t.Errorf("a key that was taken back: %d", got)
	}
	if err := os.WriteFile(file, []byte("laptop 12345\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(file); !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
}

func TestBrowsers(t *testing.T) {
	a := serve(t, newFake(t, "x"), Config{Origins: []string{"https://chat.example.org"}})
	const path, body = "/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}]}`
	for name, c := range map[string]struct {
		method string
		header []string
		status int
		allow  string
	}{
		"no origin":         {"POST", nil, 200, ""},
		"own page":          {"POST", []string{"Origin", a.url}, 200, ""},
		"allowed":           {"POST", []string{"Origin", "https://chat.example.org"}, 200, "https://chat.example.org"},
		"foreign":           {"POST", []string{"Origin", "https://evil.example.org"}, 403, ""},
		"null":              {"POST", []string{"Origin", "null"}, 403, ""},
		"hidden origin":     {"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		"preflight":         {"OPTIONS", []string{"Origin", "https://chat.example.org", "Access-Control-Request-Method", "POST"}, 204, "https://chat.example.org"},
		"foreign preflight": {"OPTIONS", []string{"Origin", "https://evil.example.org", "Access-Control-Request-Method", "POST"}, 403, ""},
		"rebinding":         {"POST", []string{"Host", "evil.example.org"}, 403, ""},
		"localhost":         {"POST", []string{"Host", "localhost:7780"}, 200, ""},
	} {
		resp, got := a.call(c.method, path, body, c.header...)
		if resp.StatusCode != c.status || resp.Header.Get("Access-Control-Allow-Origin") != c.allow {
			t.Errorf("%s: %d %v %s", name, resp.StatusCode, resp.Header, got)
		}
	}
}

func TestRequestID(t *testing.T) {
	a := serve(t, newFake(t, "x"), Config{})
	if resp, _ := a.call("GET", "/health", ""); resp.Header.Get("X-Request-Id") != "req_000000000000000000000001" {
		t.Error(resp.Header)
	}
	if resp, _ := a.call("GET", "/v1/models", "", "X-Request-Id", "mine-7"); resp.Header.Get("X-Request-Id") != "mine-7" {
		t.Error(resp.Header)
	}
	if resp, _ := a.call("GET", "/v1/models", "", "X-Request-Id", "not mine"); resp.Header.Get("X-Request-Id") == "not mine" {
		t.Error(resp.Header)
	}
}

func TestHeartbeat(t *testing.T) {
	f := newFake(t, "Hello")
	f.start = make(chan struct{})
	a := serve(t, f, Config{Heartbeat: 20 * time.Millisecond})
	time.AfterFunc(600*time.Millisecond, func() { close(f.start) })
	code, body := a.post("/v1/chat/completions", `{"stream":true,"messages":[{"role":"user","content":"Hi"}]}`)
	if code != 200 || strings.Count(body, ": still at work\n\n") < 2 || !strings.HasSuffix(body, "data: [DONE]\n\n") {
		t.Errorf("%d %s", code, body)
	}
}

func TestTooManyRequests(t *testing.T) {
	f := newFake(t, "Hello")
	f.start = make(chan struct{})
	a := serve(t, f, Config{MaxRequests: 1})
	first := make(chan int)
	go func() {
		code, _ := a.post("/v1/completions", `{"prompt":"x"}`)
		first <- code
	}()
	for f.active.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	resp, body := a.call("POST", "/v1/completions", `{"prompt":"x"}`)
	wantError(t, "second", resp.StatusCode, body, 429, "", "rate_limit_exceeded")
	if resp.Header.Get("Retry-After") != "1" {
		t.Error(resp.Header)
	}
	close(f.start)
	if code := <-first; code != 200 {
		t.Error(code)
	}
}

// A client that goes away, or does not read, ends its own generation.
func TestVanishingAndSlowClients(t *testing.T) {
	f := newFake(t, strings.Repeat("Hello ", 200_000)) // more than sockets hold
	a := serve(t, f, Config{WriteTimeout: 200 * time.Millisecond})
	const body = `{"stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	for _, read := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(a.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if read { // a little, then the client is gone
			if _, err := bufio.NewReader(conn).ReadString('}'); err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		for f.active.Load() == 0 && !read {
			time.Sleep(time.Millisecond)
		}
		end := time.Now().Add(10 * time.Second)
		for f.active.Load() > 0 && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
		if n := f.active.Load(); n > 0 {
			t.Errorf("reads %v: %d generations go on", read, n)
		}
		conn.Close()
		cancel()
	}
}

// Parameters arrive at the edge.
func TestParameters(t *testing.T) {
	f := newFake(t, "x")
	a := serve(t, f, Config{})
	a.post("/v1/chat/completions", `{"messages":[{"role":"developer","content":[{"type":"text","text":"A"},{"type":"text","text":"B"}]},{"role":"user","content":"U"},
		{"role":"assistant","content":null,"reasoning_content":"R","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"7"}],"model":"big","temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.05,"presence_penalty":0.1,"frequency_penalty":0.2,
		"repetition_penalty":1.1,"logit_bias":{"5":-100},"seed":-3,"max_tokens":null,"max_completion_tokens":9,"stop":["a","b"],"logprobs":true,"top_logprobs":2,
		"chat_template_kwargs":{"enable_thinking":false},"reasoning_effort":"low","response_format":{"type":"json_object"},
		"outrider":{"no_draft":true,"fallback":"draft","deadline_ms":1500,"run_ahead":0.5,"objective":"cost","ignore_end":true,"pending":true}}`)
	r := f.last.Load()
	p := r.Params
	if p.Temperature != 0.5 || p.TopP != 0.9 || p.TopK != 40 || p.MinP != 0.05 || p.PresencePenalty != 0.1 || p.FrequencyPenalty != 0.2 || p.RepetitionPenalty != 1.1 ||
		p.LogitBias[5] != -100 || int64(p.Seed) != -3 {
		t.Errorf("%+v", p)
	}
	if r.MaxTokens != 9 || len(r.Stop) != 2 || r.Model != "big" || r.Logprobs != 3 || !r.NoDraft || r.Fallback != edge.FallbackDraft || r.Deadline != 1500*time.Millisecond ||
		r.MaxPassesPerToken != 0.5 || r.Objective != speculative.ObjectiveCost || !r.IgnoreEnd || !r.Pending || r.Variables["enable_thinking"] != false || r.Variables["reasoning_effort"] != "low" || r.Constraint.Kind != "json_object" {
		t.Errorf("%+v", r)
	}
	m := r.Messages
	if len(m) != 4 || m[0].Role != "system" || m[0].Content != "AB" || m[2].Reasoning != "R" || m[2].ToolCalls[0].Name != "f" || m[3].Name != "f" || m[3].ToolCallID != "c1" {
		t.Errorf("%+v", m)
	}
	a.post("/v1/responses", `{"instructions":"I","input":[{"role":"user","content":[{"type":"input_text","text":"U"}]},{"type":"reasoning","content":[{"type":"reasoning_text","text":"R"}]},
		{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call","call_id":"c2","name":"g","arguments":""},
		{"type":"function_call_output","call_id":"c2","output":"8"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"T"}]},{"role":"user","content":"V"}],
		"text":{"format":{"type":"json_schema","name":"x","schema":{"type":"object"}}},"max_output_tokens":4,"reasoning":{"effort":"none"}}`)
	r = f.last.Load()
	roles := ""
	for _, m := range r.Messages {
		roles += m.Role[:1]
	}
	if m := r.Messages; roles != "suatau" || m[2].Reasoning != "R" || len(m[2].ToolCalls) != 2 || m[3].Name != "g" || r.MaxTokens != 4 ||
		r.Constraint.Source != `{"type":"object"}` || r.Variables["enable_thinking"] != false {
		t.Errorf("%s %+v", roles, r)
	}
}

func TestToolConstraints(t *testing.T) {
	f := newFake(t, "x")
	a := serve(t, f, Config{})
	tools := func(strict, choice string) *edge.Constraint {
		a.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":{"name":"b","strict":`+strict+`,"parameters":{"type":"object"}}},
			{"type":"function","function":{"name":"a"}}],"tool_choice":`+choice+`}`)
		return f.last.Load().Constraint
	}
	if c := tools("false", `"auto"`); c != nil {
		t.Errorf("%+v", c)
	}
	if c := tools("true", `"auto"`); c == nil || c.Kind != "structural_tag" || !strings.Contains(c.Source, `"triggers":["<tool_call>"]`) || !json.Valid([]byte(c.Source)) {
		t.Errorf("%+v", c)
	}
	if c := tools("true", `"none"`); c != nil || len(f.last.Load().Tools) > 0 {
		t.Errorf("%+v", c)
	}
	if c := tools("false", `"required"`); c == nil || c.Kind != "json_schema" || !strings.Contains(c.Source, `"minItems":1`) || !json.Valid([]byte(c.Source)) {
		t.Errorf("%+v", c)
	}
	if c := tools("false", `{"type":"function","function":{"name":"b"}}`); c == nil || c.Source != `{"type":"object","properties":{"name":{"const":"b"},"arguments":{"type":"object"}},"required":["name","arguments"],"additionalProperties":false}` {
		t.Errorf("%+v", c)
	}
	if got := string(f.last.Load().Tools[1]); got != `{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{}}}}` {
		t.Error(got)
	}
}

// A deadline that passes before the first token is an error, not an empty answer.
func TestDeadlineWithoutAnswer(t *testing.T) {
	f := newFake(t, "")
	f.finish = speculative.FinishDeadline
	code, body := serve(t, f, Config{}).post("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}],"outrider":{"deadline_ms":5}}`)
	if code != 504 || !strings.Contains(body, "deadline_exceeded") {
		t.Errorf("%d %s", code, body)
	}
}

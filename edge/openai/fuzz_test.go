package openai

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// validBodies use every parameter somewhere, by endpoint.
func validBodies() map[string][]string {
	return map[string][]string{
		"/v1/chat/completions": {
			`{"model":"mock","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Hi"}]}],"max_tokens":4,"temperature":0.7,"top_p":0.9,"top_k":40,"min_p":0.1,"stop":["a","b c"],"seed":7,"n":2,"user":"u"}`,
			`{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"7"}],"tools":[{"type":"function","function":{"name":"f","description":"d","strict":false,"parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}],"tool_choice":"auto","parallel_tool_calls":false,"max_completion_tokens":5}`,
			`{"messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true},"outrider":{"tokens":true,"pending":true,"progress":true,"no_draft":false,"fallback":"fail","deadline_ms":2000,"run_ahead":0.5},"presence_penalty":0.1,"frequency_penalty":0.2,"repetition_penalty":1.1,"logit_bias":{"5":-10},"max_tokens":3,"chat_template_kwargs":{"enable_thinking":true},"metadata":{"a":"b"},"prediction":{"type":"content","content":"x"}}`,
			`{"messages":[{"role":"user","content":"Hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"type":"integer","maximum":9}},"required":["a"],"additionalProperties":false}}},"logprobs":true,"top_logprobs":2,"max_tokens":6}`,
			`{"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":{"type":"function","function":{"name":"f"}},"max_tokens":6,"stream":true}`,
			`{"messages":[{"role":"user","content":"Hi"}],"response_format":{"type":"json_object"},"outrider":{"depth":3},"max_tokens":6}`,
		},
		"/v1/completions": {
			`{"model":"mock","prompt":["Once","upon"],"max_tokens":4,"temperature":0,"n":1,"stop":"x","echo":false,"best_of":1,"stream":false}`,
			`{"prompt":[1,2,3],"stream":true,"stream_options":{"include_usage":true},"max_tokens":2}`,
			`{"prompt":[[1,2],[3]],"max_tokens":2,"outrider":{"tokens":true}}`,
			`{"prompt":"Once","structured_outputs":{"regex":"a{1,3}(b|c)"},"max_tokens":5}`,
			`{"prompt":"Once","structured_outputs":{"choice":["yes","no"]},"max_tokens":5,"stream":true}`,
		},
		"/v1/responses": {
			`{"model":"mock","input":"Hi","instructions":"Be brief.","max_output_tokens":4,"temperature":0.5,"metadata":{},"text":{"format":{"type":"text"}},"store":false}`,
			`{"input":[{"role":"user","content":[{"type":"input_text","text":"U"}]},{"type":"reasoning","content":[{"type":"reasoning_text","text":"R"}],"summary":[]},{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"8"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"tool_choice":"auto","stream":true,"max_output_tokens":3,"reasoning":{"effort":"low"}}`,
		},
		"/v1/embeddings": {`{"input":"x","model":"mock"}`},
	}
}

// mutateValue changes a JSON value somewhere.
func mutateValue(rng *rand.Rand, v any) any {
	odd := func() any {
		all := []any{nil, true, "", "x", "\x00￾", strings.Repeat("y", 1000), 0.0, -1.0, 1e300, 1.5, 4294967296.0, []any{}, []any{nil}, map[string]any{},
			map[string]any{"type": 7.0}, []any{[]any{[]any{}}}, "<|user|>", "<tool_call>{", "none", "required", []any{1.0, "a"}}
		return all[rng.IntN(len(all))]
	}
	if rng.IntN(8) == 0 {
		return odd()
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if len(keys) == 0 {
			return map[string]any{"type": odd()}
		}
		k := keys[rng.IntN(len(keys))]
		switch rng.IntN(5) {
		case 0:
			delete(v, k)
		case 1:
			v[keys[rng.IntN(len(keys))]] = v[k]
		default:
			v[k] = mutateValue(rng, v[k])
		}
		return v
	case []any:
		if len(v) == 0 {
			return []any{odd()}
		}
		i := rng.IntN(len(v))
		switch rng.IntN(4) {
		case 0:
			return append(v, v[i])
		case 1:
			return slices.Delete(v, i, i+1)
		}
		v[i] = mutateValue(rng, v[i])
		return v
	}
	return odd()
}

// mutate changes a body, as JSON or as bytes.
func mutate(rng *rand.Rand, body string) string {
	if rng.IntN(5) == 0 {
		b := []byte(body)
		for range 1 + rng.IntN(4) {
			switch i := rng.IntN(len(b)); rng.IntN(3) {
			case 0:
				b[i] = byte(rng.IntN(256))
			case 1:
				b = b[:max(1, i)]
			default:
				b = slices.Insert(b, i, b[rng.IntN(len(b))])
			}
		}
		return string(b)
	}
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	for range 1 + rng.IntN(2) {
		v = mutateValue(rng, v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return string(b)
}

// Random bodies, before a real edge and cloud: no 500, no panic, every refusal in OpenAI's shape.
func TestRandomBodies(t *testing.T) {
	n := 2000
	if os.Getenv("OUTRIDER_VERIFY") != "" {
		n = 10_000
	}
	a := serve(t, newStack(t, map[string]string{"text": "bytes"}), Config{MaxChoices: 4})
	var paths, bodies []string
	for path, list := range validBodies() {
		for _, b := range list {
			paths, bodies = append(paths, path), append(bodies, b)
		}
	}
	for i, b := range bodies {
		if code, answer := a.post(paths[i], b); code != http.StatusOK && paths[i] != "/v1/embeddings" {
			t.Fatalf("%s %s: %d %s", paths[i], b, code, answer)
		}
	}
	var statuses [600]atomic.Int64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				seed := next.Add(1)
				if seed > int64(n) {
					return
				}
				rng := rand.New(rand.NewPCG(uint64(seed), 5))
				i := rng.IntN(len(bodies))
				body := mutate(rng, bodies[i])
				code, answer := a.post(paths[i], body)
				statuses[code].Add(1)
				switch {
				case code == http.StatusOK:
					if strings.Contains(answer, `"internal_error"`) {
						t.Errorf("seed %d: %s %s: %s", seed, paths[i], body, answer)
					}
				case code == 500 || (code > 501 && code != 504) || !strings.HasPrefix(answer, `{"error":{"message":"`): // 504: its deadline_ms passed
					t.Errorf("seed %d: %s %s: %d %s", seed, paths[i], body, code, answer)
				}
			}
		})
	}
	wg.Wait()
	for code := range statuses {
		if c := statuses[code].Load(); c > 0 {
			t.Logf("%d: %d", code, c)
		}
	}
	if statuses[200].Load() < int64(n/20) || statuses[400].Load() < int64(n/20) {
		t.Error("the bodies are not various")
	}
}

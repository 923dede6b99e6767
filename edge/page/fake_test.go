//go:build verify

package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake speaks the API as the page uses it: deterministic answers, at any pace, with any fault. The
// real edge is tested in edge_test.go; what it cannot be made to do on demand is tested here.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	requests []map[string]any // bodies of chat completions
	cloud    bool             // in reach
	key      string           // asked for, empty: none
	fail     func(w http.ResponseWriter) bool
	note     string
	senses   bool     // perception is on
	heard    [][]byte // recordings
	spoken   []string
	pause    time.Duration // between chunks
	perChunk int           // tokens
	breakAt  int           // token at which the connection is cut, 0: never
	unlinked [2]int        // tokens between which the cloud is lost, for three quarters of a second
}

func newFake(t *testing.T) *fake {
	f := &fake{cloud: true, perChunk: 3, pause: 4 * time.Millisecond}
	mux := http.NewServeMux()
	mux.Handle("/", Handler())
	mux.HandleFunc("GET /outrider/status", f.status)
	mux.HandleFunc("GET /outrider/stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"answers": 12, "escalated": 3, "tokens": 200, "origins": map[string]int{"device": 50, "accepted": 100}, "priced": true,
			"cost_saved": 1.5, "cost_cloud_only": 4, "device_joules_known": true, "device_joules": 321})
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]any{"object": "list", "data": []any{map[string]any{"id": "llama-70b"}, map[string]any{"id": "qwen-32b"}}})
	})
	mux.HandleFunc("POST /v1/audio/transcriptions", f.transcribe)
	mux.HandleFunc("POST /v1/audio/speech", f.speak)
	mux.HandleFunc("POST /v1/chat/completions", f.chat)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) bodies() []map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]map[string]any(nil), f.requests...)
}

func (f *fake) allowed(w http.ResponseWriter, r *http.Request) bool {
	if f.key == "" || r.Header.Get("Authorization") == "Bearer "+f.key {
		return true
	}
	apiError(w, 401, "invalid_api_key", "an API key is needed: Authorization: Bearer KEY")
	return false
}

func apiError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "code": code}})
}

func (f *fake) status(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.allowed(w, r) {
		return
	}
	targets, note, mode := []any{}, f.note, "none"
	if f.cloud {
		targets, mode = append(targets, map[string]any{"name": "llama-70b", "context_length": 8192}), "cooperative"
	} else {
		note = "no cloud in reach: 127.0.0.1:7600: connection refused"
	}
	writeJSON(w, map[string]any{"targets": targets, "model": "llama-70b", "draft": "llama-1b", "cloud": "127.0.0.1:7600", "rtt_ms": 42.4,
		"mode": mode, "note": note, "perception": f.perception(), "fallback": "wait", "supports": map[string]any{"modes": []string{"cooperative", "auto", "only_on_device", "only_in_cloud"},
			"acceptance": []string{"coupled"}, "max_depth": 32, "fallback": []string{"wait", "fail", "draft"}}})
}

// sample has every kind of block.
const sample = `## The tide

The sea rises **twice a day**, pulled by the moon, and a little by the *sun*. Here is what matters:

1. Spring tides come at full and new moon
2. Neap tides come at the quarters
   - with weaker currents
   - and ` + "`half`" + ` the range

| Place | Range | Kind |
|:------|------:|:----:|
| Bay of Fundy | 16 m | semidiurnal |
| Mediterranean | 0.3 m | mixed |

` + "```python\ndef height(t, m=2.1, s=0.8):\n    # two waves that nearly agree\n    return m * cos(t / 12.42) + s * cos(t / 12)\n```" + `

> Time and tide wait for no man.

See [the tables](https://example.org/tides) for your harbour.
`

// answerOf is a function of the question: "sample", "long N" (tokens), or a story.
func answerOf(question string) string {
	if n, ok := strings.CutPrefix(question, "long "); ok {
		count, _ := strconv.Atoi(n)
		var b strings.Builder
		for i := 0; i < count; i++ {
			switch {
			case i%400 == 399:
				b.WriteString("\n\n")
			case i%40 == 39:
				fmt.Fprintf(&b, " **bold%d**.", i)
			default:
				fmt.Fprintf(&b, " word%d", i%97)
			}
		}
		return b.String()
	}
	switch {
	case strings.HasPrefix(question, "sample"):
		return sample
	case strings.HasPrefix(question, "unsafe"):
		return "<img src=x onerror=\"document.title='owned'\"> [click](javascript:document.title='owned') <script>document.title='owned'</script> done"
	case strings.HasPrefix(question, "潮"):
		return "潮水每天**涨落两次**，主要由月亮牵引，太阳也出一点力。\n\n- 满月与新月时是*大潮*\n- 上弦与下弦时是小潮\n\n> 时不我待，潮不等人。\n"
	}
	return "Once there was a little dog named Max. He loved to run in the park with Lily, and one day he found a big red ball. " +
		"\"Look,\" said Lily, \"it is as round as the sun!\" They played until the evening, and then they went home, tired and very happy."
}

// pieces cuts text into tokens.
func pieces(s string) []string {
	var out []string
	for len(s) > 0 {
		i := strings.IndexAny(s[1:], " \n*`|") + 1
		if i == 0 {
			i = len(s)
		}
		if r := []rune(s[:i]); len(r) > 2 && r[0] > 0x2e80 {
			i = len(string(r[:2]))
		}
		out = append(out, s[:i])
		s = s[i:]
	}
	return out
}

var fates = []string{"run_ahead", "accepted", "accepted", "accepted", "correction", "accepted", "accepted", "accepted", "accepted", "bonus", "accepted",
	"accepted", "correction", "accepted", "run_ahead", "accepted", "accepted", "accepted", "bonus"}

func (f *fake) chat(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		apiError(w, 400, "", "not JSON")
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, body)
	ok, fail := f.allowed(w, r), f.fail
	f.mu.Unlock()
	if !ok || fail != nil && fail(w) {
		return
	}
	messages, _ := body["messages"].([]any)
	last, _ := messages[len(messages)-1].(map[string]any)
	question, _ := last["content"].(string)
	w.Header().Set("Content-Type", "text/event-stream")
	f.stream(w, r, pieces(answerOf(question)))
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request, tokens []string) {
	send := func(v any) {
		b, _ := json.Marshal(v)
		fmt.Fprintf(w, "data: %s\n\n", b)
		_ = http.NewResponseController(w).Flush()
	}
	chunk := func(delta map[string]any, finish any, more map[string]any) {
		m := map[string]any{"id": "x", "object": "chat.completion.chunk", "model": "llama-70b", "choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}}
		for k, v := range more {
			m[k] = v
		}
		send(m)
	}
	chunk(map[string]any{"role": "assistant", "content": ""}, nil, nil)
	at, passes := 180.0, 0
	progress := func(n int, linked bool) map[string]any {
		return map[string]any{"at_ms": at, "linked": linked, "tokens": n, "depth": (n*7)%11 + n%3, "passes": passes, "step_ms": 41.2, "plain_step_ms": 40.1,
			"uplink_bytes": 8 * n, "downlink_bytes": 14 * n, "resumes": 0, "rtt_ms": 42.4}
	}
	for i := 0; i < len(tokens); {
		f.mu.Lock()
		pause, per, breakAt, unlinked := f.pause, f.perChunk, f.breakAt, f.unlinked
		f.mu.Unlock()
		if breakAt > 0 && i >= breakAt {
			panic(http.ErrAbortHandler)
		}
		if unlinked[1] > 0 && i >= unlinked[0] && i < unlinked[1] {
			chunk(map[string]any{}, nil, map[string]any{"outrider": map[string]any{"progress": progress(i, false)}})
			time.Sleep(750 * time.Millisecond)
			f.set(func() { f.unlinked = [2]int{} })
		}
		n := min(per, len(tokens)-i)
		list, text := []any{}, ""
		for k := i; k < i+n; k++ {
			fate := fates[k%len(fates)]
			t := map[string]any{"id": 1000 + k%500, "text": tokens[k], "fate": fate}
			if fate == "run_ahead" && k%2 == 0 {
				t["late"] = true
			}
			if fate != "accepted" {
				passes++
			}
			list, text = append(list, t), text+tokens[k]
		}
		i += n
		at += float64(n) * 21
		chunk(map[string]any{"content": text}, nil, map[string]any{"outrider": map[string]any{"tokens": list,
			"pending": strings.Join(tokens[i:min(len(tokens), i+4)], ""), "progress": progress(i, true)}})
		select {
		case <-r.Context().Done():
			return
		case <-time.After(pause):
		}
	}
	chunk(map[string]any{}, "stop", map[string]any{"outrider": map[string]any{"pending": ""}})
	judged := len(tokens) * 4 / 5
	send(map[string]any{"id": "x", "choices": []any{}, "usage": map[string]any{"prompt_tokens": 12, "completion_tokens": len(tokens), "total_tokens": 12 + len(tokens)},
		"metrics": map[string]any{"speculative_decoding": map[string]any{"mean_acceptance_length": 3.4, "num_draft_tokens": judged, "num_accepted_draft_tokens": judged * 7 / 10},
			"outrider": map[string]any{"first_token_ms": 180, "total_ms": at, "uplink_bytes": 8 * len(tokens), "downlink_bytes": 14 * len(tokens), "resumes": 0, "exact": true,
				"target_passes": passes, "target": "llama-70b", "draft": "llama-1b"}}})
	fmt.Fprint(w, "data: [DONE]\n\n")
}

package openai

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// A target whose tokens have no text refuses a constraint when the session is opened, so the answer is a
// 400 at once instead of a 503 when patience ends; one with text obeys.
func TestConstraintOnTargetWithoutText(t *testing.T) {
	bodies := map[string]string{
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"Hi"}],"response_format":{"type":"json_object"},"max_tokens":4}`,
		"/v1/completions":      `{"prompt":"Hi","structured_outputs":{"regex":"[a-z]+"},"stream":true,"max_tokens":4}`,
		"/v1/responses":        `{"input":"Hi","text":{"format":{"type":"json_object"}},"max_output_tokens":4}`,
	}
	mute := serve(t, newStack(t, nil), Config{})
	spelling := serve(t, newStack(t, map[string]string{"text": "bytes"}), Config{})
	for path, body := range bodies {
		began := time.Now()
		code, answer := mute.post(path, body)
		wantError(t, path, code, answer, 400, "", "invalid_request")
		if took := time.Since(began); took > 10*time.Second { // patience lasts a minute
			t.Errorf("%s: refused after %v", path, took)
		}
		if code, answer := spelling.post(path, body); code != 200 {
			t.Errorf("%s with text: %d %s", path, code, answer)
		}
	}
}

// A request may bound the depth; the status says how far.
func TestDepthAndSupports(t *testing.T) {
	f := newFake(t, "Hello")
	f.tok = demoTokenizer(t)
	a := serve(t, f, Config{})
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"Hi"}],"outrider":{"depth":`,
		"/v1/completions":      `{"prompt":"Hi","outrider":{"depth":`,
		"/v1/responses":        `{"input":"Hi","outrider":{"depth":`,
	} {
		for text, want := range map[string]int{"null": 0, "0": 0, "1": 1, "64": 64} {
			if code, answer := a.post(path, body+text+"}}"); code != 200 || f.last.Load().Depth != want {
				t.Errorf("%s, depth %s: %d %s, the edge got %d", path, text, code, answer, f.last.Load().Depth)
			}
		}
		for text, wrong := range map[string]string{"65": "invalid_value", "-1": "invalid_value", "1.5": "invalid_type", `"4"`: "invalid_type"} {
			code, answer := a.post(path, body+text+"}}")
			wantError(t, path+" depth "+text, code, answer, 400, "outrider.depth", wrong)
		}
	}
	type supports struct {
		Modes, Acceptance, Fallback []string
		MaxDepth                    int `json:"max_depth"`
	}
	for draft, want := range map[string]supports{
		"small": {[]string{"cooperative", "auto", "prefer_on_device", "only_on_device", "prefer_in_cloud", "only_in_cloud"}, rules(), []string{"wait", "fail", "draft"}, maxDepth},
		"":      {[]string{"cooperative", "prefer_in_cloud", "only_in_cloud"}, rules(), []string{"wait", "fail"}, 0},
	} {
		f.status.Draft = draft
		_, body := serve(t, f, Config{}).call("GET", "/outrider/status", "")
		var got struct{ Supports supports }
		if err := json.Unmarshal([]byte(body), &got); err != nil || !reflect.DeepEqual(got.Supports, want) {
			t.Errorf("draft %q: %s (%v)", draft, body, err)
		}
	}
}

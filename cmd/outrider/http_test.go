package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// post sends a body to a running edge and returns the answer.
func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestEdgeServesTheAPI(t *testing.T) {
	s, err := startStack(t.Context(), stackConfig{rtt: 4 * time.Millisecond, draft: "outrider-demo-draft"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	url := "http://" + s.edge.http() + "/v1/chat/completions"
	const ask = `{"messages":[{"role":"user","content":"Tell me a story."}],"max_tokens":12,"temperature":0,"stream":`
	code, whole := post(t, url, ask+"false}")
	var v struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal([]byte(whole), &v); err != nil || code != 200 || len(v.Choices) != 1 || v.Choices[0].Message.Content == "" {
		t.Fatalf("%d %s %v", code, whole, err)
	}
	code, streamed := post(t, url, ask+"true}")
	text := ""
	for line := range strings.Lines(streamed) {
		data, ok := strings.CutPrefix(line, "data: {")
		if !ok {
			continue
		}
		var k struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte("{"+data), &k); err != nil {
			t.Fatal(err)
		}
		text += k.Choices[0].Delta.Content
	}
	if code != 200 || text != v.Choices[0].Message.Content || !strings.HasSuffix(streamed, "data: [DONE]\n\n") {
		t.Errorf("%d: streamed %q, whole %q: %s", code, text, v.Choices[0].Message.Content, streamed)
	}
}

func TestEdgeDoesNotServeOtherMachines(t *testing.T) {
	code, _, errs := outrider(t, "", "edge", "--listen", "127.0.0.1:0", "--admin", "", "--http", "0.0.0.0:0")
	if code != exitUsage || !strings.Contains(errs, "edge.http") {
		t.Errorf("%d %s", code, errs)
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every example of docs/api.md works as it stands.
func TestCurlExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("install curl to run the examples of docs/api.md")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := startStack(t.Context(), stackConfig{draft: "outrider-demo-draft", cloudArgs: []string{"--pace", "off"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	examples := regexp.MustCompile(`(?m)^    curl .*(\n {6}.*)*`).FindAllString(string(page), -1)
	if len(examples) < 7 {
		t.Fatalf("only %d examples: %q", len(examples), examples)
	}
	for _, e := range examples {
		e = strings.ReplaceAll(strings.TrimSpace(e), "127.0.0.1:7780", s.edge.http())
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "exec curl -sS -w '\n%{http_code}' "+strings.TrimPrefix(e, "curl ")).CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), "\n200") || strings.Contains(string(out), `"error":{`) {
			t.Errorf("%s\n%v %s", e, err, out)
		}
	}
}

// replayed is a request as a chat app sends it.
type replayed struct {
	Name   string          `json:"name"`
	Path   string          `json:"path"`
	Body   json.RawMessage `json:"body"` // none: GET
	Answer string          `json:"answer"`
}

// Chat apps connect and chat: testdata/clients.json has what they send, written from their documentation.
func TestChatApps(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "clients.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []replayed
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	s, key := keyed(t, stackConfig{draft: "outrider-demo-draft", cloudArgs: []string{"--pace", "off"}})
	for _, r := range list {
		method := http.MethodGet
		if r.Body != nil {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.edge.http()+r.Path, strings.NewReader(string(r.Body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read to its end
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(got), r.Answer) {
			t.Errorf("%s: %d %s %v", r.Name, resp.StatusCode, got, err)
		}
	}
}

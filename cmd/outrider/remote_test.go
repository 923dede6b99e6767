package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend/httpengine/fake"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/models"
)

// serveFake runs a server that speaks as vLLM and SGLang over the demo target.
func serveFake(t *testing.T) (*fake.Server, *httptest.Server) {
	t.Helper()
	m, err := reference.Load(t.Context(), models.TargetName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := readTokenizer(models.TargetName)
	if err != nil {
		t.Fatal(err)
	}
	s := &fake.Server{Model: m, Tok: tok, Name: "demo", Version: "0.11.0", Most: 20}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		_ = m.(*reference.Engine).Close()
	})
	return s, h
}

type said struct {
	Text    string `json:"text"`
	Figures struct {
		Accepted int `json:"accepted"`
	} `json:"figures"`
}

func askEdge(t *testing.T, edge string, args ...string) said {
	t.Helper()
	code, out, errs := outrider(t, "", append([]string{"generate", "--edge", edge, "--json", "-n", "24", "--seed", "4"}, append(args, "Once upon a time")...)...)
	var v said
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil {
		t.Fatalf("%d %v %s %s", code, err, out, errs)
	}
	return v
}

// TestTargetOnAnEngine: real processes, the target behind a server's HTTP API: the same text as with the target in
// the reference engine, with proposals and without.
func TestTargetOnAnEngine(t *testing.T) {
	want := map[string]string{}
	sampling := map[string][]string{"greedy": {"-t", "0"}, "sampled": {"-t", "0.8", "--top-k", "12"}}
	s, err := startStack(t.Context(), stackConfig{draft: models.DraftName})
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range sampling {
		want[name] = askEdge(t, s.edge.addr(), args...).Text
	}
	s.stop()
	for _, engine := range []string{"vllm", "sglang"} {
		_, h := serveFake(t)
		s, err := startStack(t.Context(), stackConfig{draft: models.DraftName,
			cloudArgs: []string{"--engine", engine, "--model", "demo=" + h.URL, "--option", "tokenizer=" + models.TargetName, "--option", "retries=1"}})
		if err != nil {
			t.Fatal(err)
		}
		for name, args := range sampling {
			if got := askEdge(t, s.edge.addr(), args...); got.Text != want[name] {
				t.Errorf("%s, %s: %q, the reference engine says %q", engine, name, got.Text, want[name])
			}
			if got := askEdge(t, s.edge.addr(), append(args, "--no-draft")...); got.Text != want[name] {
				t.Errorf("%s, %s, alone: %q, the reference engine says %q", engine, name, got.Text, want[name])
			}
		}
		// What the engine cannot do is refused at once, with what to do instead.
		if code, _, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "-t", "1", "-n", "4", "--deadline", "30s", "Once"); code == 0 || !strings.Contains(errs, "top_k") {
			t.Errorf("%s without top_k: %d %s", engine, code, errs)
		}
		s.stop()
	}
}

func TestRemoteEngineBadInput(t *testing.T) {
	for want, args := range map[string][]string{"tokenizer=FILE": {"--model", "http://127.0.0.1:1"},
		"no server is set": {"--target", "x=", "--option", "tokenizer=" + models.TargetName},
		"does not answer":  {"--model", "http://127.0.0.1:1", "--option", "tokenizer=" + models.TargetName, "--option", "retries=0"}} {
		code, _, errs := outrider(t, "", append([]string{"cloud", "--listen", "127.0.0.1:0", "--admin", "", "--engine", "vllm"}, args...)...)
		if code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", want, code, errs)
		}
	}
}

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/models/pull"
)

// hub serves the embedded pair as a repository of Hugging Face would, in a home with nothing else.
func hub(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for _, v := range []string{"OLLAMA_MODELS", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME",
		"LOCALAPPDATA", "HF_HOME", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("OUTRIDER_MODELS_DIR", filepath.Join(home, "models"))
	files := map[string][]byte{}
	files["tiny-f16.gguf"], _ = models.Embedded(models.TargetName)
	files["tiny-q8_0.gguf"], _ = models.Embedded(models.DraftName)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/models/me/tiny-GGUF/tree/main":
			var all []map[string]any
			for name, b := range files {
				sum := sha256.Sum256(b)
				all = append(all, map[string]any{"type": "file", "path": name, "size": len(b),
					"lfs": map[string]any{"oid": hex.EncodeToString(sum[:]), "size": len(b)}})
			}
			_ = json.NewEncoder(w).Encode(all)
		case files[filepath.Base(r.URL.Path)] != nil:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[filepath.Base(r.URL.Path)]))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	return home
}

func TestPullThenUseByName(t *testing.T) {
	home := hub(t)
	for _, quant := range []string{"f16", "q8_0"} {
		code, out, errs := outrider(t, "", "models", "pull", "me/tiny-GGUF:"+quant)
		if code != 0 || !strings.Contains(out, "tiny-"+quant+": ") || !strings.Contains(out, "SHA-256 is right") {
			t.Fatalf("%d %s %s", code, out, errs)
		}
		if strings.Contains(errs, "\r") || !strings.Contains(errs, "100 %") {
			t.Errorf("progress in a pipe: %q", errs)
		}
	}
	code, out, errs := outrider(t, "", "models", "pull", "me/tiny-GGUF:Q8_0", "--json")
	var p pulled
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 || p.Fetched != 0 || p.Name != "tiny-q8_0" || !p.Checked {
		t.Errorf("%d %s %s %v", code, out, errs, err)
	}
	code, out, _ = outrider(t, "", "models", "list")
	if code != 0 || !strings.Contains(out, "tiny-f16 ") || !strings.Contains(out, "embedded") {
		t.Errorf("%d %s", code, out)
	}
	code, out, errs = outrider(t, "", "models", "tiny-f16", "me/tiny-GGUF:q8_0")
	if code != 0 || !strings.Contains(out, filepath.Join(home, "models")) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	code, out, errs = outrider(t, "", "models", "pair", "tiny-f16", "tiny-q8_0", "--pace", "40ms+0.3ms", "-n", "2", "--max-tokens", "24", "--option", "threads=1", "--json")
	var r pairReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("%d %s %s %v", code, out, errs, err)
	}
	if !r.Vocabulary.Identical || len(r.Results) != 2 || r.Step != 40 || r.DraftMs <= 0 || r.Results[0].Tokens == 0 || r.Results[0].Estimate == nil {
		t.Errorf("%+v", r)
	}
}

// TestServeByName: edge and cloud find their models by name.
func TestServeByName(t *testing.T) {
	hub(t)
	for _, quant := range []string{"f16", "q8_0"} {
		if code, _, errs := outrider(t, "", "models", "pull", "me/tiny-GGUF:"+quant); code != 0 {
			t.Fatal(errs)
		}
	}
	s, err := startStack(t.Context(), stackConfig{draft: "tiny-q8_0", cloudArgs: []string{"--target", "tiny-f16"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	code, out, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "--json", "-n", "8", "Once upon a time")
	if code != 0 || out == "" {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestModelsBadInput(t *testing.T) {
	home := hub(t)
	big := filepath.Join(home, ".cache", "llama.cpp")
	if err := os.MkdirAll(big, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(big, fmt.Sprintf("split-%05d-of-00002.gguf", i+1)), []byte("GGUF"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "OWNER/REPO", []string{"models", "pull"}},
		{exitUsage, "OWNER/REPO", []string{"models", "pull", "tiny"}},
		{exitUsage, "sha256", []string{"models", "pull", "me/tiny-GGUF", "--sha256", "12"}},
		{exitError, "Q4_K_M", []string{"models", "pull", "me/tiny-GGUF:Q4_K_M"}},
		{exitError, "spelling", []string{"models", "pull", "me/nothing-GGUF"}},
		{exitUsage, "target and a draft", []string{"models", "pair", models.TargetName}},
		{exitError, "models pull", []string{"models", "pair", models.TargetName, "nothing"}},
		{exitUsage, "pace", []string{"models", "pair", models.TargetName, models.DraftName, "--pace", "fast"}},
		{exitUsage, "--n", []string{"models", "pair", models.TargetName, models.DraftName, "-n", "0"}},
		{exitError, "models list", []string{"models", "nothing"}},
		{exitError, "no model file", []string{"cloud", "--target", "nothing"}},
		{exitError, "2 parts", []string{"edge", "--draft", "llama.cpp:split"}},
	} {
		code, _, errs := outrider(t, "", c.args...)
		if code != c.code || !strings.Contains(errs, c.want) || strings.Count("\n"+errs, "\noutrider: ") != 1 {
			t.Errorf("%v: code %d, %q; want %d and %q", c.args, code, errs, c.code, c.want)
		}
	}
}

// A draft of another family drafts as text.
func TestPairOfOtherTokens(t *testing.T) {
	foreign := filepath.Join("..", "..", "..", "shared", "data", "models", "stories260K.gguf")
	if !fileExists(foreign) {
		t.Skip("no ../shared/data/models/stories260K.gguf")
	}
	code, out, errs := outrider(t, "", "models", "pair", models.TargetName, foreign, "-n", "2", "--max-tokens", "24", "--option", "threads=1")
	if code != 0 || !strings.Contains(out, "different vocabularies") || !strings.Contains(out, "drafts as text") || !strings.Contains(out, "agreement") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b)
	for n := int64(0); n <= 1000; n++ {
		p.progress(pull.Progress{File: "x", Part: 1, Parts: 2, Done: n * 1e6, Total: 1000e6})
	}
	p.say("well")
	for n := range int64(1000) {
		p.progress(pull.Progress{File: "y", Part: 1, Parts: 1, Done: n * 1e6, Total: -1})
	}
	p.end()
	if n := strings.Count(b.String(), "\n"); n != 11+1+10 {
		t.Errorf("%d lines:\n%s", n, &b)
	}
	b.Reset()
	p.tty = true
	for n := range int64(101) {
		p.progress(pull.Progress{File: "x", Part: 1, Parts: 1, Done: n * 1e6, Total: 100e6})
	}
	p.say("well")
	if !strings.Contains(b.String(), "100%") || !strings.HasSuffix(b.String(), "\nwell\n") {
		t.Errorf("bar %q", b.String())
	}
}

package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
)

// writeBroken writes a copy of an embedded model in which a matrix holds NaN.
func writeBroken(t *testing.T, name string) string {
	t.Helper()
	src, _ := models.Embedded(name)
	f, err := gguf.NewReader(bytes.NewReader(src), int64(len(src)))
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(src)
	for _, x := range f.Tensors() {
		if x.Name != "blk.1.ffn_down.weight" {
			continue
		}
		raw := out[f.DataOffset(x):][:x.Size()]
		switch x.Type {
		case gguf.F32:
			binary.LittleEndian.PutUint32(raw, math.Float32bits(float32(math.NaN())))
		default: // a half-precision NaN: the number itself or a block's scale
			binary.LittleEndian.PutUint16(raw, 0x7e00)
		}
	}
	path := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBrokenTarget: a target that computes NaN says nothing, and the one who asks is told why, at once.
func TestBrokenTarget(t *testing.T) { brokenTarget(t, "reference") }

func TestBrokenTargetOnLlamacpp(t *testing.T) {
	needLlamacpp(t)
	brokenTarget(t, "llamacpp")
}

func brokenTarget(t *testing.T, engine string) {
	s, err := startStack(t.Context(), stackConfig{draft: models.DraftName, cloudArgs: []string{"--engine", engine, "--target", writeBroken(t, models.TargetName)},
		edgeArgs: []string{"--fallback", "draft", "--http", "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	begin := time.Now()
	code, out, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "Once upon a time")
	if code != exitError || strings.TrimSpace(out) != "" || !strings.Contains(errs, "target broken: the model computes NaN: the file is damaged or its quantisation overflows") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	r, err := http.Post("http://"+s.edge.http()+"/v1/chat/completions", "application/json",
		strings.NewReader(`{"model":"broken","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }() // it was read
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil || r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(b.String(), "computes NaN") {
		t.Error(r.Status, b.String(), err)
	}
}

// TestBrokenDraft: a draft that computes NaN proposes nothing; the target answers alone.
func TestBrokenDraft(t *testing.T) {
	s, err := startStack(t.Context(), stackConfig{draft: writeBroken(t, models.DraftName)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	args := []string{"generate", "--edge", s.edge.addr(), "-t", "0", "-n", "24", "--ignore-end", "Once upon a time"}
	code, out, errs := outrider(t, "", args...)
	_, want, _ := outrider(t, "", append(args, "--no-draft")...)
	if code != 0 || out != want || out == "" || !strings.Contains(s.edge.log.String(), "computes NaN") {
		t.Errorf("%d %q %q %s\n%s", code, out, want, errs, s.edge.log)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a real pair said is recorded and replayed; the simulation says what it assumed.
func TestRecordAndReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	path := filepath.Join(t.TempDir(), "pair.jsonl")
	c := newRecord()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs([]string{"--out", path, "-n", "3", "--max-tokens", "24", "--temperature", "0.7", "--option", "threads=1"})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	line, err := simulateOutput(t, "--json", "--rtt", "20ms", "--agreement", "trace:"+path, "--repeats", "20", "--tokens", "100")
	if err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	var r struct {
		Ratio       float64        `json:"ratio"`
		Assumptions map[string]any `json:"assumptions"`
		Baselines   map[string]struct{ Ratio float64 }
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatal(err)
	}
	a := r.Assumptions
	if r.Ratio <= 0 || r.Ratio > 1.02 || r.Baselines["synchronous"].Ratio <= 0 || a["confidence"] != "recorded" || a["agreement_sessions"] != 3.0 || a["agreement"].(float64) < 0.3 {
		t.Errorf("%s", line)
	}
	text, err := simulateOutput(t, "--rtt", "20ms", "--agreement", "trace:"+path, "--repeats", "2", "--tokens", "20")
	if err != nil || !strings.Contains(text, "recorded of outrider-demo-target with outrider-demo-draft at temperature 0.7") {
		t.Errorf("%v\n%s", err, text)
	}
	if err := os.WriteFile(path, []byte("{\"trace\":1}\n{\"outcome\":\"17\",\"confidence\":[1,1]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, flag := range map[string]string{"line 2": "trace:" + path, "no such file": "trace:nowhere", "neither a rate": "much"} {
		if out, err := simulateOutput(t, "--agreement", flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
}

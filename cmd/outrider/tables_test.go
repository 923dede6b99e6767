package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tables of docs/benchmarks.md are what their commands make. The simulated ones take a minute.
func TestTablesAreFresh(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "benchmarks.md")
	only := []string{"acceptance"}
	if os.Getenv("OUTRIDER_VERIFY") == "1" {
		only = nil
	}
	var out bytes.Buffer
	if err := runTables(t.Context(), page, only, true, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "acceptance: fresh") {
		t.Errorf("%s", out.String())
	}
}

func TestStaleTable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	records, err := os.ReadFile(filepath.Join("..", "..", "docs", "data", "spec-bench-demo.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "page.md")
	text := "before\n<!-- table: acceptance -->\nold\n<!-- end of table -->\nafter\n"
	if err := os.WriteFile(filepath.Join(dir, "data", "spec-bench-demo.jsonl.gz"), records, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := runTables(t.Context(), page, nil, true, &out); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Errorf("%v", err)
	}
	if err := runTables(t.Context(), page, nil, false, &out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(page)
	if s := string(b); err != nil || !strings.HasPrefix(s, "before\n<!--") || !strings.HasSuffix(s, "table -->\nafter\n") || strings.Contains(s, "old") || !strings.Contains(s, "| coupled |") {
		t.Errorf("%v\n%s", err, b)
	}
	if err := runTables(t.Context(), page, nil, true, &out); err != nil {
		t.Errorf("%v", err)
	}
}

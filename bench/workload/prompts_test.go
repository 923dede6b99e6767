package workload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := parse(strings.NewReader("{\"turns\":[\"a\",\"b\"]}\n\nplain\n{\"question\":\"q\",\"answer\":\"x\"}\n"), 0)
	if err != nil || strings.Join(got, "|") != "a|plain|q" {
		t.Fatalf("%q %v", got, err)
	}
	for _, bad := range []string{"", "{\"x\":1}", "{broken"} {
		if _, err := parse(strings.NewReader(bad), 0); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func TestRealSets(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "prompts")
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl*"))
	if len(files) == 0 {
		t.Skip("no prompt sets in ../shared/data")
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			t.Fatal(err)
		}
		p, err := Read(f, 50)
		if err != nil || len(p) != 50 {
			t.Errorf("%s: %d prompts, %v", f, len(p), err)
		}
	}
}

package workload

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseItems(t *testing.T) {
	const file = `{"question_id": 81, "category": "writing", "turns": ["a", "b"]}
{"task_id": "HumanEval/0", "prompt": "def f():", "canonical_solution": "  return 1"}

{"question": "q", "answer": "42"}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}, {"role": "assistant", "content": "x"}]}
{"id": "HumanEval/0", "prompt": "again"}
plain
`
	got, err := ParseItems(strings.NewReader(file), "spec_bench")
	if err != nil || len(got) != 6 {
		t.Fatalf("%+v %v", got, err)
	}
	if a := got[0]; a.ID != "81" || a.Task != "mt_bench" || a.Prompt != "a" {
		t.Errorf("Spec-Bench: %+v", a)
	}
	if a := got[1]; a.ID != "HumanEval/0" || a.Expected != "  return 1" {
		t.Errorf("HumanEval: %+v", a)
	}
	if a := got[2]; a.ID != "line-4" || a.Prompt != "q" || a.Expected != "42" {
		t.Errorf("GSM8K: %+v", a)
	}
	if a := got[3]; len(a.Messages) != 2 || a.Messages[1].Content != "u" || a.Prompt != "" {
		t.Errorf("messages: %+v", a)
	}
	if got[4].ID == got[1].ID || got[5].Prompt != "plain" {
		t.Errorf("ids must differ: %+v", got[4:])
	}
}

func TestBadLines(t *testing.T) {
	for bad, want := range map[string]string{
		"":                     "no prompt",
		"ok\n{broken":          "line 2",
		"ok\n\n{\"x\":1}":      "line 3: none of the fields",
		`{"messages": 3}`:      "messages",
		`{"messages": []}`:     "none that is to be answered",
		`{"prompt": ["a", 3]}`: "none of the fields",
		`{"messages": [{"role": "robot", "content": "x"}]}`:                            "robot",
		`{"messages": [{"role": "user", "content": 4}]}`:                               "content",
		`{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}`:         "only text",
		`{"messages": [{"role": "assistant", "content": "I speak to nobody at all"}]}`: "answered",
	} {
		if _, err := ParseItems(strings.NewReader(bad), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", bad, err, want)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.jsonl.gz")
	if err := os.WriteFile(path, []byte("no gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, filepath.Join(dir, "missing.jsonl"), "spec_bench", "nothing"} {
		if _, err := Load(name, dir, 3); !errors.Is(err, ErrWorkload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every task has its share, by name as by path.
func TestLoadKnown(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "prompts")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no prompt sets in ../shared/data")
	}
	for _, name := range Names() {
		got, err := Load(name, dir, 12)
		if err != nil || len(got) != 12 {
			t.Errorf("%s: %d items, %v", name, len(got), err)
			continue
		}
		tasks := map[string]int{}
		for _, it := range got {
			tasks[it.Task]++
			if it.Prompt == "" {
				t.Errorf("%s: %s has no prompt", name, it.ID)
			}
		}
		if name == "spec_bench" && (len(tasks) != 6 || tasks["rag"] != 2) {
			t.Errorf("Spec-Bench's six tasks twice each, got %v", tasks)
		}
	}
	all, err := Load("spec_bench", dir, 0)
	if err != nil || len(all) != 480 {
		t.Errorf("%d items of Spec-Bench, %v", len(all), err)
	}
}

func FuzzParseItems(f *testing.F) {
	f.Add(`{"prompt":"x"}`)
	f.Add(`{"messages":[{"role":"user","content":"x"}],"id":3}`)
	f.Fuzz(func(t *testing.T, text string) {
		items, err := ParseItems(strings.NewReader(text), "spec_bench")
		for _, it := range items {
			if err == nil && it.Prompt == "" && len(it.Messages) == 0 {
				t.Errorf("an item without a prompt in %q", text)
			}
		}
	})
}

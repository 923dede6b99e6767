package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What "outrider bench report" says of files that are no good, of poor ones and of good ones.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) (string, error) { return runCommand(newReport(), args...) }
	for want, path := range map[string]string{
		"no records":   write("empty.jsonl", ""),
		"line 1":       write("broken.jsonl", "{\n"),
		"not a record": write("other.jsonl", "{\"prompt\":\"x\"}\n"),
		"gzip":         write("false.jsonl.gz", "this is not compressed at all"),
		"no such file": filepath.Join(dir, "missing"),
	} {
		if out, err := run(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
	one := write("one.jsonl", `{"v":1,"key":"k","way":"outrider","settings":{"temperature":"0"},"tokens":4,"ms_per_token":2,"total_ms":8,"judged":3,"accepted":2,"passes":2,"scoring_passes":1,"exact":true}`+"\n"+`{"v":1,"ke`)
	page, table := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.csv")
	out, err := run(one, "--html", page, "--csv", table)
	if err != nil || !strings.Contains(out, "last line is torn") || !strings.Contains(out, "0.667") {
		t.Errorf("%v\n%s", err, out)
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte("one.jsonl")) || !bytes.Contains(b, []byte("torn")) {
		t.Errorf("the page: %v", err)
	}
	if b, err := os.ReadFile(table); err != nil || bytes.Count(b, []byte("\n")) != 2 {
		t.Errorf("the table: %v\n%s", err, b)
	}
	if out, err := run(one, "--markdown"); err != nil || !strings.Contains(out, "| coupled |") {
		t.Errorf("%v\n%s", err, out)
	}
}

// runCommand runs one command by itself and gives what it printed.
func runCommand(c *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SilenceUsage = true
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

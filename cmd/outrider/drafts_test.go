package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/drafter/suffix"
)

func TestDrafts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "drafts")
	s, err := suffix.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"ada", "eve"} {
		s.Learn(suffix.Key{User: user, Label: "cloud:7600 big off"}, make([]suffix.Token, 20), time.Unix(1e9, 0))
	}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) { return runCommand(newDrafts(), args...) }
	if out, err := run("list", "--file", file); err != nil || !strings.Contains(out, `"ada"`) || !strings.Contains(out, `"eve"`) {
		t.Errorf("%q %v", out, err)
	}
	if out, err := run("forget", "--file", file, "--user", "ada"); err != nil || out != "1 forgotten\n" {
		t.Errorf("%q %v", out, err)
	}
	if out, err := run("list", "--file", file, "--json"); err != nil || strings.Contains(out, `"ada"`) || !strings.Contains(out, `"eve"`) {
		t.Errorf("%q %v", out, err)
	}
	for _, bad := range [][]string{{"list"}, {"forget", "--file", file}, {"forget", "--file", file, "--all", "--user", "x"}} {
		if _, err := run(bad...); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

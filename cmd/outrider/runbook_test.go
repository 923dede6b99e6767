package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	runbookCommand = regexp.MustCompile("`outrider ([a-z]+)([^`]*)`")
	runbookFlag    = regexp.MustCompile(`--([a-z-]+)`)
)

// TestRunbook: each alert has a section, which its runbook_url names; each section begins with a command; the commands
// and settings exist.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		sections[name] = body
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, For          string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(b, &rules); err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			alerts[r.Alert] = true
			if _, ok := sections[r.Alert]; !ok {
				t.Errorf("alert %s has no section", r.Alert)
			}
			if want := "docs/runbook.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) || r.Annotations["summary"] == "" {
				t.Errorf("%s: annotations %v, want a summary and %s", r.Alert, r.Annotations, want)
			}
			if _, err := time.ParseDuration(r.For); err != nil || r.Labels["severity"] == "" {
				t.Errorf("%s: for %q, labels %v", r.Alert, r.For, r.Labels)
			}
		}
	}
	for name, body := range sections {
		if !alerts[name] {
			t.Errorf("section %s belongs to no alert", name)
		}
		if !strings.Contains(body, "\nFirst: ") || !strings.Contains(body, "outrider") {
			t.Errorf("%s: no first command", name)
		}
	}
	for _, m := range runbookCommand.FindAllStringSubmatch(string(text), -1) {
		words := []string{m[1]}
		if f := strings.Fields(m[2]); len(f) > 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(f[0]) {
			words = append(words, f[0])
		}
		c, _, err := newRoot().Find(words)
		if err != nil || c.Name() == "outrider" {
			t.Errorf("%s: no such command", m[0])
			continue
		}
		for _, f := range runbookFlag.FindAllStringSubmatch(m[2], -1) {
			if c.Flags().Lookup(f[1]) == nil && c.InheritedFlags().Lookup(f[1]) == nil && f[1] != "help" {
				t.Errorf("%s: no flag --%s", m[0], f[1])
			}
		}
	}
	known := map[string]bool{}
	for _, s := range new(Config).settings() {
		known[s.key] = true
	}
	for _, m := range regexp.MustCompile("`((?:cloud|edge)\\.[a-z_.]+)`").FindAllStringSubmatch(string(text), -1) {
		if !known[m[1]] {
			t.Errorf("no setting %s", m[1])
		}
	}
}

package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated part of docs/configuration.md")

func withoutComments(s string) string {
	return regexp.MustCompile(`(?m)(^\s*#.*\n| # .*$)`).ReplaceAllString(s, "")
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKeyTable: the table in the documentation is that of the code (make generate writes it).
func TestKeyTable(t *testing.T) { madeTable(t, "configuration.md", "keys", keyTable()) }

// madeTable compares a table in the documentation with that of the code; make generate writes it.
func madeTable(t *testing.T, file, name, table string) {
	t.Helper()
	begin, end := "<!-- "+name+": made by make generate -->\n", "<!-- end of "+name+" -->\n"
	file = filepath.Join("..", "..", "docs", file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks around its table of %s", file, name)
	}
	want := before + begin + table + end + after
	if *update {
		err = os.WriteFile(file, []byte(want), 0o644)
	} else if want != string(b) {
		t.Errorf("the table of %s in %s is stale: run make generate", name, file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	c := defaultConfig()
	for _, s := range c.settings() {
		if s.doc() == "" {
			t.Errorf("%s has no doc tag", s.key)
		}
	}
}

// TestConfigErrors: each mistake names file and line, and what was meant.
func TestConfigErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, text, want string }{
		{"unknown section", "\nfoo: 1\n", "FILE:2: there is no setting foo (the file has cloud,"},
		{"typing mistake", "cloud:\n  lisen: x\n", "FILE:2: there is no setting cloud.lisen: did you mean cloud.listen?"},
		{"wrong section", "fallback: wait\n", "FILE:1: there is no setting fallback: did you mean edge.fallback?"},
		{"in a model", "cloud:\n  targets:\n    - {modell: x}\n", "FILE:3: there is no setting cloud.targets[0].modell: did you mean cloud.targets[0].model?"},
		{"in a named model", "models:\n  big:\n    engin: x\n", "FILE:3: there is no setting models.big.engin: did you mean models.big.engine?"},
		{"not YAML", "cloud: {\n", "FILE:1: not valid YAML"},
		{"tab", "cloud:\n\tlisten: x\n", "FILE:2: not valid YAML"},
		{"no number", "cloud:\n  max_sessions: lots\n", "FILE:2: cloud.max_sessions: cannot parse"},
		{"a value for a section", "edge: 1\n", `FILE:1: edge must hold settings, one per line below it: it holds "1"`},
		{"out of range", "cloud:\n  max_sessions: -1\n", "FILE:2: cloud.max_sessions is -1, must be between"},
		{"run-ahead", "edge:\n  run_ahead: 2\n", "FILE:2: edge.run_ahead: run-ahead is \"2\", must be on, off"},
		{"unknown pair", "pairs:\n  home: {target: a}\npair: hom\n", `FILE:3: there is no pair "hom" in pairs: did you mean home?`},
		{"pair without target", "pairs:\n  home: {draft: a}\n", "FILE:2: pair home has no target"},
		{"bad pace", "models:\n  a: {model: x, pace: fast}\n", "FILE:2: pace is"},
		{"bad name", "models:\n  none: {model: x}\n", `FILE:2: "none" cannot be a model's name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := writeFile(t, dir, "c.yaml", c.text)
			code, _, errs := outrider(t, "", "config", "--config", file)
			if got := strings.ReplaceAll(errs, file, "FILE"); code != exitUsage || !strings.HasPrefix(got, "outrider: "+c.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("code %d: %s", code, got)
			}
		})
	}
	t.Setenv("OUTRIDER_EDGE_CLOD", "x")
	if code, _, errs := outrider(t, "", "config"); code != exitUsage || !strings.Contains(errs, "did you mean OUTRIDER_EDGE_CLOUD?") {
		t.Error(code, errs)
	}
}

func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	good := writeFile(t, dir, "good.yaml", `
models:
  big: {model: outrider-demo-target, options: {threads: 1}}
  v2.5-small: {model: outrider-demo-draft}
pairs:
  home: {target: big, draft: v2.5-small}
pair: home
cloud: {targets: [big, {name: other, model: outrider-demo-draft}]}
edge: {run_ahead: deferred}
`)
	code, out, errs := outrider(t, "", "config", "--check", good)
	if code != 0 || !strings.Contains(out, "the cloud serves big, other; the edge drafts with v2.5-small for big") {
		t.Error(code, out, errs)
	}
	code, out, errs = outrider(t, "", "config", "--config", good)
	if code != 0 || !strings.Contains(out, `run_ahead: "off" # `+good+":9") || !strings.Contains(out, "v2.5-small: outrider-demo-draft") {
		t.Error(code, out, errs)
	}
	bad := writeFile(t, dir, "bad.yaml", "cloud: {targets: [bih]}\nmodels:\n  big: {model: outrider-demo-targt}\n"+
		"edge:\n  cloud: gpu1\n  draft: {model: outrider-demo-draft, pace: x}\nlog: {level: loud}\n")
	code, _, errs = outrider(t, "", "config", "--check", bad)
	for _, want := range []string{"bad.yaml:1: no model file bih", "did you mean big?", "bad.yaml:3: no model file outrider-demo-targt",
		"did you mean outrider-demo-target?", `bad.yaml:5: edge.cloud is "gpu1", must be host:port such as gpu1:7600`, "bad.yaml:6: pace", "bad.yaml:7: log.level",
		"bad.yaml has 5 mistakes"} {
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, errs)
		}
	}
}

func TestRunAheadWords(t *testing.T) {
	dir := t.TempDir()
	for word, want := range map[string]string{"off": `"off"`, "deferred": `"off"`, "on": `"on"`, "0.5": "0.5", "0": `"off"`, "default": "default", "1": `"on"`} {
		file := writeFile(t, dir, "c.yaml", "edge: {run_ahead: "+word+"}\n")
		if _, out, errs := outrider(t, "", "config", "--config", file); !strings.Contains(out, "run_ahead: "+want+" #") {
			t.Errorf("%s: %s%s", word, out, errs)
		}
		t.Setenv("OUTRIDER_EDGE_RUN_AHEAD", word)
		if _, out, errs := outrider(t, "", "config"); !strings.Contains(out, "run_ahead: "+want+" # environment OUTRIDER_EDGE_RUN_AHEAD") {
			t.Errorf("%s: %s%s", word, out, errs)
		}
		os.Unsetenv("OUTRIDER_EDGE_RUN_AHEAD")
	}
}

func TestNamedModels(t *testing.T) {
	file := writeFile(t, t.TempDir(), "c.yaml", `
models:
  big: {model: outrider-demo-target, engine: reference, pace: 5ms, options: {threads: 2, context: 64}}
  small: {model: outrider-demo-draft}
pairs:
  home: {target: big, draft: small}
  far: {target: other, draft: none}
`)
	cfg, err := readConfig(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := ModelConfig{Model: "big", Options: map[string]string{"threads": "4"}}
	if err := m.resolve(cfg.Models); err != nil || m.Name != "big" || m.Model != "outrider-demo-target" || m.Pace != "5ms" ||
		m.Options["threads"] != "4" || m.Options["context"] != "64" || cfg.Models.Named["big"].Options["threads"] != "2" {
		t.Errorf("%+v, %v", m, err)
	}
	check := func(wantTarget, wantDraft string) {
		t.Helper()
		if target, draft := cfg.drafting(); target != wantTarget || draft.Model != wantDraft {
			t.Errorf("target %q, draft %q; want %q, %q", target, draft.Model, wantTarget, wantDraft)
		}
	}
	check("", "outrider-demo-draft")
	cfg.Pair = "home"
	check("big", "small")
	if s := cfg.served(); len(s) != 1 || s[0].Model != "big" {
		t.Error(s)
	}
	cfg.Edge.Model = "other" // its own pair's draft
	check("other", "none")
	cfg.Edge.Draft.Model = "mine"
	check("other", "mine")
}

func TestNear(t *testing.T) {
	names := []string{"listen", "admin", "targets", "max_sessions", "qwen2.5-7b-instruct-q4_k_m"}
	for name, want := range map[string][]string{"lisetn": {"listen"}, "target": {"targets"}, "qwen2.5-7b": {"qwen2.5-7b-instruct-q4_k_m"}, "zzz": nil, "": nil, "foo": nil} {
		if got := near(name, names); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for addr, ok := range map[string]bool{"gpu1:7600": true, "[::1]:7600": true, "dns:///gpu1:7600": true, "unix:/run/x": true, "gpu1": false,
		"http://gpu1:7600": false, ":7600": false, "gpu1:http": false, "gpu1:99999": false, "": false, "a b:1": false} {
		if err := checkAddress("x", addr, "gpu1:7600"); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

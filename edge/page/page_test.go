package page

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestHandlerServesCompressedAndCached(t *testing.T) {
	h := Handler()
	plain := get(t, h, "GET", "/")
	body, _ := io.ReadAll(plain.Body)
	if plain.StatusCode != 200 || !strings.Contains(string(body), "<title>Outrider</title>") ||
		plain.Header.Get("Content-Type") != "text/html; charset=utf-8" || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("/: %s %v", plain.Status, plain.Header)
	}
	small := get(t, h, "GET", "/", "Accept-Encoding", "br, gzip;q=0.8")
	z, err := gzip.NewReader(small.Body)
	if err != nil || small.Header.Get("Content-Encoding") != "gzip" || small.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("gzip: %v %v", err, small.Header)
	}
	if unzipped, _ := io.ReadAll(z); string(unzipped) != string(body) {
		t.Error("the compressed page is another one")
	}
	if plain.Header.Get("ETag") == small.Header.Get("ETag") {
		t.Error("both forms have one tag")
	}
	for _, tag := range []string{plain.Header.Get("ETag"), small.Header.Get("ETag"), `"x", W/` + plain.Header.Get("ETag"), "*"} {
		r := get(t, h, "GET", "/", "If-None-Match", tag)
		if b, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusNotModified || len(b) > 0 || r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("If-None-Match %s: %s", tag, r.Status)
		}
	}
	if r := get(t, h, "GET", "/", "If-None-Match", `"other"`); r.StatusCode != 200 {
		t.Errorf("another tag: %s", r.Status)
	}
	for accept, want := range map[string]bool{"gzip": true, "*": true, "gzip;q=0": false, "gzip; q=0.0": false, "br": false, "": false, "gzip;q=1": true} {
		if takesGzip(accept) != want {
			t.Errorf("Accept-Encoding %q: %v", accept, !want)
		}
	}
}

func TestHandlerIsStrict(t *testing.T) {
	h := Handler()
	for _, path := range []string{"/", "/js/app.js", "/nothing"} {
		r := get(t, h, "GET", path)
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(r.Header.Get("Content-Security-Policy"), want) {
				t.Errorf("%s: the policy lacks %s", path, want)
			}
		}
		if strings.Contains(r.Header.Get("Content-Security-Policy"), "unsafe") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
	for path, want := range map[string]int{"/nothing": 404, "/../page.go": 404, "/static/index.html": 404, "/js": 404, "/js/": 404} {
		if r := get(t, h, "GET", path); r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	if r := get(t, h, "POST", "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s", r.Status)
	}
	r := get(t, h, "HEAD", "/base.css")
	if b, _ := io.ReadAll(r.Body); r.StatusCode != 200 || len(b) > 0 || r.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %s, %d bytes", r.Status, len(b))
	}
}

// Nothing is loaded from elsewhere, nothing is inline, every file that is named exists, and text never
// becomes markup.
func TestFilesKeepToThePolicy(t *testing.T) {
	named := regexp.MustCompile(`(?:src|href)="([^"#]+)"|from "([^"]+)"|import "([^"]+)"`)
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|<script>|<style|\sstyle=|\son[a-z]+="|srcdoc`)
	h := Handler()
	_ = fs.WalkDir(static, "static", func(name string, d fs.DirEntry, _ error) error {
		if d.IsDir() {
			return nil
		}
		data, _ := static.ReadFile(name)
		if m := forbidden.FindString(string(data)); m != "" {
			t.Errorf("%s has %q", name, m)
		}
		if kind(name) == "application/octet-stream" {
			t.Errorf("%s has no media type", name)
		}
		if lines := strings.Count(string(data), "\n"); lines > 400 {
			t.Errorf("%s has %d lines", name, lines)
		}
		for _, m := range named.FindAllStringSubmatch(string(data), -1) {
			ref := m[1] + m[2] + m[3]
			at := filepath.ToSlash(filepath.Join("/", strings.TrimPrefix(filepath.Dir(name), "static"), ref))
			if r := get(t, h, "GET", at); r.StatusCode != 200 {
				t.Errorf("%s names %s: %s", name, ref, r.Status)
			}
		}
		return nil
	})
}

// Both languages have the same words, and each word that is used exists.
func TestWordsAreComplete(t *testing.T) {
	key := regexp.MustCompile(`(?m)^  (\w+): "(.*)",$`)
	words := func(name string) map[string]string {
		data, err := static.ReadFile("static/js/words-" + name + ".js")
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, m := range key.FindAllStringSubmatch(string(data), -1) {
			out[m[1]] = m[2]
		}
		return out
	}
	en, zh := words("en"), words("zh")
	if len(en) < 100 {
		t.Fatalf("%d words", len(en))
	}
	variable := regexp.MustCompile(`\{\w+\}`)
	for k, v := range en {
		if zh[k] == "" {
			t.Errorf("Chinese lacks %s", k)
		}
		for _, m := range variable.FindAllString(v, -1) {
			if !strings.Contains(zh[k], m) {
				t.Errorf("Chinese %s lacks %s", k, m)
			}
		}
	}
	for k := range zh {
		if en[k] == "" {
			t.Errorf("English lacks %s", k)
		}
	}
	used := regexp.MustCompile(`\bt\("(\w+)"|data-t(?:-label|-ph|-title)?="(\w+)"`)
	_ = fs.WalkDir(static, "static", func(name string, d fs.DirEntry, _ error) error {
		if d.IsDir() {
			return nil
		}
		data, _ := static.ReadFile(name)
		for _, m := range used.FindAllStringSubmatch(string(data), -1) {
			if k := m[1] + m[2]; en[k] == "" && !strings.HasSuffix(k, "_") {
				t.Errorf("%s uses %s, which has no words", name, k)
			}
		}
		return nil
	})
}

// The logic of the page that needs no browser, in Node.
func TestJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the logic of the page is tested where it is, and in make verify")
	}
	dir := t.TempDir()
	for from, to := range map[string]string{"static/js": "js", "testdata/js": "."} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests, _ := filepath.Glob(filepath.Join(dir, "*.test.mjs"))
	cmd := exec.CommandContext(t.Context(), node, append([]string{"--test"}, tests...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

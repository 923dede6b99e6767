// Package page is the edge's web page: a chat that shows speculation happening. Its files are plain
// HTML, CSS and JavaScript modules, embedded; nothing is loaded from elsewhere, and no build step
// makes them.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed static
var static embed.FS

// policy lets the page load its own files, talk to its own edge, and nothing else. Trusted types
// forbid that text ever becomes markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// file is one file as it is served.
type file struct {
	kind         string // media type
	tag          string // entity tag, of either form
	plain, small []byte // small is gzipped, nil where that saves nothing
}

type handler map[string]file

// Handler serves the page at "/" and its files beside it; anything else is not found.
func Handler() http.Handler {
	h := handler{}
	// Walking and reading embedded files cannot fail.
	_ = fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		h[strings.TrimPrefix(name, "static")] = newFile(name, data)
		return nil
	})
	h["/"] = h["/index.html"]
	return h
}

func newFile(name string, data []byte) file {
	sum := sha256.Sum256(data)
	f := file{kind: kind(name), tag: hex.EncodeToString(sum[:12]), plain: data}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that exists
	_, _ = w.Write(data)
	_ = w.Close() // a buffer takes everything
	if b.Len() < len(data) {
		f.small = b.Bytes()
	}
	return f
}

// kind is not left to the machine's own table of media types, which may miss or mistake some.
func kind(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".webmanifest":
		return "application/manifest+json"
	}
	return "application/octet-stream"
}

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := w.Header()
	out.Set("Content-Security-Policy", policy)
	out.Set("X-Content-Type-Options", "nosniff")
	out.Set("Referrer-Policy", "no-referrer")
	out.Set("Cross-Origin-Opener-Policy", "same-origin")
	out.Set("Cross-Origin-Resource-Policy", "same-origin")
	out.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(self)")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		out.Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h[r.URL.Path]
	if !ok {
		http.Error(w, "there is nothing here: the page is at /, the API below /v1", http.StatusNotFound)
		return
	}
	body, tag := f.plain, `"`+f.tag+`"`
	if f.small != nil {
		out.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			body, tag = f.small, `"`+f.tag+`-gz"`
			out.Set("Content-Encoding", "gzip")
		}
	}
	out.Set("ETag", tag)
	out.Set("Cache-Control", "no-cache") // keep, but ask: an edge may be another version tomorrow
	if matches(r.Header.Get("If-None-Match"), f.tag) {
		out.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	out.Set("Content-Type", f.kind)
	out.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // a client that is gone needs no report
	}
}

// takesGzip reads an Accept-Encoding header.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); name != "gzip" && name != "*" {
			continue
		}
		q := strings.TrimPrefix(strings.ReplaceAll(quality, " ", ""), "q=")
		return strings.Trim(q, "0.") != "" || q == ""
	}
	return false
}

// matches says whether an If-None-Match header names the file, in either form.
func matches(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		t := strings.Trim(strings.TrimPrefix(strings.TrimSpace(part), "W/"), `"`)
		if t == "*" || strings.TrimSuffix(t, "-gz") == tag {
			return true
		}
	}
	return false
}

package pull

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/gguf"
)

// model makes a GGUF of about n bytes.
func model(t testing.TB, seed uint64, n int) []byte {
	t.Helper()
	raw := make([]byte, n/4*4)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range raw {
		raw[i] = byte(rng.Uint32())
	}
	var b bytes.Buffer
	err := gguf.Write(&b, []gguf.KV{{Key: "general.architecture", Value: "llama"}},
		[]gguf.Data{{Tensor: gguf.Tensor{Name: "x", Type: gguf.F32, Dims: []uint64{uint64(len(raw) / 4)}}, Raw: raw}})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// fault is what the CDN does instead of answering one request properly.
type fault struct {
	status   int    // answer with it
	retry    string // Retry-After
	cut      int    // close the connection after so many bytes
	stall    bool   // then say nothing more
	noRanges bool   // the whole file, whatever was asked for
	corrupt  bool   // flip a byte
	html     bool   // a log-in page
	shift    int    // a wrong range
	before   func() // called first
}

// hub emulates Hugging Face: its API and a CDN on another host name.
type hub struct {
	*httptest.Server
	cdn *httptest.Server

	mu     sync.Mutex
	files  map[string][]byte // "OWNER/REPO/FILE"
	lie    map[string]string // checksum to announce instead
	token  string            // that the repositories need
	faults []fault           // of the CDN, one a request
	api    []int             // statuses of the API, one a request
	page   int               // entries of a listing's page, 0: all
	ranges []string          // that the CDN was asked for
	leaks  int               // requests to the CDN that brought the token
	plain  bool              // the CDN gives no ETag and no date
	etag   string            // of every file, default by content
	done   chan struct{}     // ends stalls
}

func newHub(t *testing.T) *hub {
	h := &hub{files: map[string][]byte{}, lie: map[string]string{}, done: make(chan struct{})}
	h.cdn = httptest.NewServer(http.HandlerFunc(h.serve))
	h.Server = httptest.NewServer(http.HandlerFunc(h.hub))
	t.Cleanup(func() {
		close(h.done)
		h.Close()
		h.cdn.Close()
	})
	return h
}

func (h *hub) add(name string, b []byte) string {
	h.files[name] = b
	return digest(b)
}

// cdnURL names the CDN by another host than the hub's.
func (h *hub) cdnURL() string { return strings.Replace(h.cdn.URL, "127.0.0.1", "localhost", 1) }

func (h *hub) hub(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		http.Error(w, "Invalid username or password.", http.StatusUnauthorized)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"); ok {
		if len(h.api) > 0 {
			s := h.api[0]
			h.api = h.api[1:]
			if s != 200 {
				http.Error(w, "no", s)
				return
			}
		}
		h.tree(w, r, rest)
		return
	}
	repo, file, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/main/")
	if !ok || h.files[repo+"/"+file] == nil {
		http.Error(w, "Entry not found", http.StatusNotFound)
		return
	}
	http.Redirect(w, r, h.cdnURL()+"/"+repo+"/"+file+"?Signature=secret", http.StatusFound)
}

func (h *hub) tree(w http.ResponseWriter, r *http.Request, rest string) {
	repo, revision, _ := strings.Cut(rest, "/tree/")
	var all []map[string]any
	for _, name := range sortedKeys(h.files) {
		file, ok := strings.CutPrefix(name, repo+"/")
		if !ok {
			continue
		}
		b := h.files[name]
		sum := digest(b)
		if l := h.lie[name]; l != "" {
			sum = l
		}
		all = append(all, map[string]any{"type": "file", "path": file, "size": len(b), "oid": "0",
			"lfs": map[string]any{"oid": sum, "size": len(b), "pointerSize": 134}})
	}
	if len(all) == 0 || revision != "main" {
		http.Error(w, `{"error":"Repository not found"}`, http.StatusNotFound)
		return
	}
	all = append(all, map[string]any{"type": "directory", "path": "x", "oid": "0", "size": 0}, map[string]any{"type": "file", "path": "README.md", "oid": "0", "size": 5})
	from := 0
	fmt.Sscan(r.URL.Query().Get("cursor"), &from)
	to := len(all)
	if h.page > 0 && from+h.page < to {
		to = from + h.page
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, h.URL, r.URL.Path, to))
	}
	_ = json.NewEncoder(w).Encode(all[from:to])
}

func sortedKeys(m map[string][]byte) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// serve is the CDN.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	b := h.files[strings.TrimPrefix(r.URL.Path, "/")]
	h.ranges = append(h.ranges, r.Header.Get("Range"))
	if r.Header.Get("Authorization") != "" {
		h.leaks++
	}
	var f fault
	if len(h.faults) > 0 {
		f, h.faults = h.faults[0], h.faults[1:]
	}
	plain, etag := h.plain, h.etag
	h.mu.Unlock()
	if f.before != nil {
		f.before()
	}
	if etag == "" {
		etag = `"` + digest(b)[:16] + `"`
	}
	if !plain {
		w.Header().Set("ETag", etag)
	}
	if f.retry != "" {
		w.Header().Set("Retry-After", f.retry)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	switch {
	case b == nil:
		http.NotFound(w, r)
	case f.status != 0:
		http.Error(w, "no", f.status)
	case f.html:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<html>log in</html>")
	default:
		h.send(w, r, b, f)
	}
}

func (h *hub) send(w http.ResponseWriter, r *http.Request, b []byte, f fault) {
	if f.corrupt {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
	}
	if f.noRanges {
		r.Header.Del("Range")
	}
	if f.shift > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", f.shift, len(b)-1, len(b)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(b[f.shift:])
		return
	}
	if f.cut == 0 && !f.stall {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
		return
	}
	c := &cutter{ResponseWriter: w, left: f.cut}
	http.ServeContent(c, r, "", time.Time{}, bytes.NewReader(b))
	if f.stall {
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-h.done:
		}
	}
	panic(http.ErrAbortHandler)
}

// cutter lets some bytes through.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	c.left -= n
	if err == nil && n < len(b) {
		err = fmt.Errorf("cut")
	}
	if f, ok := c.ResponseWriter.(http.Flusher); ok && c.left == 0 {
		f.Flush()
	}
	return n, err
}

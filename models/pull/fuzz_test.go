package pull

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzListing: whatever a repository lists, what would be downloaded stays below the folder of models.
func FuzzListing(f *testing.F) {
	f.Add([]byte(`[{"type":"file","path":"a-Q4_K_M.gguf","size":5,"lfs":{"oid":"x","size":9}},{"type":"file","path":"b-Q8_0.gguf","size":5}]`), "", `<http://other/x>; rel="next"`)
	f.Add([]byte(`[{"type":"file","path":"../../x.gguf"}]`), "", "")
	f.Add([]byte(`[{"type":"file","path":"m-00001-of-00002.gguf"},{"type":"file","path":"m-00002-of-00002.gguf"}]`), "m", `</api>; rel=next`)
	f.Add([]byte(`[{"type":"file","path":"m-99999-of-99999.gguf"}]`), "", "")
	var body []byte
	var link string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/models") && link != "" {
			w.Header().Set("Link", strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return -1
				}
				return r
			}, link))
		}
		_, _ = w.Write(body)
	}))
	f.Cleanup(server.Close)
	c := Config{Endpoint: server.URL, Dir: f.TempDir(), Say: func(string, ...any) {}, Retries: 1, MinWait: time.Microsecond, MaxWait: time.Millisecond}
	c.defaults()
	p := &puller{Config: c, client: newClient(&c)}
	f.Cleanup(p.client.close)
	f.Fuzz(func(t *testing.T, listing []byte, pick, next string) {
		if len(pick) > 100 {
			return
		}
		body, link = listing, next
		files, err := p.files(context.Background(), Reference{Repo: "o/r", Revision: "main", Pick: pick})
		if err != nil {
			if len(err.Error()) > 1<<14 {
				t.Fatalf("a message of %d bytes", len(err.Error()))
			}
			return
		}
		for _, x := range files {
			rel, err := filepath.Rel(c.Dir, p.destination(x))
			if err != nil || !filepath.IsLocal(rel) {
				t.Fatalf("%q would be written to %q", x.name, rel)
			}
		}
	})
}

package openai

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/shape"
)

// writes notes how long the pieces are in which an answer is written.
type writes struct {
	*httptest.ResponseRecorder
	sizes []int
}

func (w *writes) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	return w.ResponseRecorder.Write(b)
}

// events are the data lines of an answer: what a reader of server-sent events takes from it.
func events(body string) (out []string) {
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			out = append(out, strings.TrimSpace(data))
		} else if line != "\n" && !strings.HasPrefix(line, ":") {
			out = append(out, "not an event: "+line)
		}
	}
	return out
}

// A shaped stream holds the same events, in pieces of the agreed sizes.
func TestShapedStreams(t *testing.T) {
	ask := func(as shape.Shape) *writes {
		s := newServer(newFake(t, "Hello there, this is a somewhat longer answer."), Config{Shape: as})
		s.now = func() time.Time { return time.Unix(1700000001, 0) }
		s.newID = func(prefix string) string { return prefix + "1" }
		w := &writes{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/chat/completions", strings.NewReader(
			`{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}],"outrider":{"tokens":true}}`))
		r.Header.Set("Content-Type", "application/json")
		s.handler().ServeHTTP(w, r)
		return w
	}
	want := events(ask(shape.Shape{}).Body.String())
	if len(want) < 10 {
		t.Fatalf("only %d events: %s", len(want), want)
	}
	for _, c := range []struct {
		padding string
		every   time.Duration
	}{{"buckets", 0}, {"32", 0}, {"64", 2 * time.Millisecond}, {"off", 3 * time.Millisecond}, {"1024", 5 * time.Millisecond}} {
		as, err := shape.Parse(c.padding, c.every)
		if err != nil {
			t.Fatal(err)
		}
		as = Events(as)
		w := ask(as)
		if got := events(w.Body.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %d events instead of %d: %s", as, len(got), len(want), w.Body)
		}
		for _, n := range w.sizes {
			if n != as.Multiple(n) || as.Every > 0 && n != as.Sizes[0] {
				t.Errorf("%s: a piece of %d bytes", as, n)
			}
		}
	}
}

// A client that goes away ends a stream that waits for its ticks.
func TestShapedStreamEndsWithItsClient(t *testing.T) {
	f := newFake(t, strings.Repeat("a long answer ", 4000))
	a := serve(t, f, Config{Shape: shape.Shape{Sizes: []int{256}, Every: 2 * time.Millisecond}})
	resp, err := http.Post(a.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"stream":true,"messages":[{"role":"user","content":"Hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for end := time.Now().Add(10 * time.Second); f.active.Load() > 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	if n := f.active.Load(); n > 0 {
		t.Errorf("%d generations go on", n)
	}
}

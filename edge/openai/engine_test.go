package openai

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an engine that says what a test has written for it, two characters a token.
type fake struct {
	t      *testing.T
	answer func(r edge.Request) (string, error)
	finish speculative.Finish
	pause  time.Duration // between tokens
	start  chan struct{} // not nil: Generate waits for it
	tok    *tokenizer.Tokenizer
	status edge.Status
	down   error // of Tokenizer

	active atomic.Int32
	last   atomic.Pointer[edge.Request]
}

func newFake(t *testing.T, answer string) *fake {
	return &fake{t: t, answer: func(edge.Request) (string, error) { return answer, nil }, finish: speculative.FinishEnd,
		status: edge.Status{Draft: "small", DraftNumerics: "n/1", Cloud: "gpu1:7600", RTT: 12500 * time.Microsecond,
			Targets: []*outriderv1.TargetInfo{{Name: "big", Vocabulary: "v", ContextLength: 4096, Numerics: "n/1"}, {Name: "org/other"}}}}
}

// pieces cuts a text into tokens of two characters.
func pieces(text string) []string {
	var out []string
	r := []rune(text)
	for len(r) > 0 {
		n := min(2, len(r))
		out, r = append(out, string(r[:n])), r[n:]
	}
	return out
}

func (f *fake) Generate(ctx context.Context, r edge.Request, emit func(edge.Event) error) (edge.Summary, error) {
	f.active.Add(1)
	defer f.active.Add(-1)
	f.last.Store(&r)
	if f.start != nil {
		select {
		case <-f.start:
		case <-ctx.Done():
			return edge.Summary{Finish: speculative.FinishCancelled}, ctx.Err()
		}
	}
	if r.Model != "" && r.Model != "big" {
		return edge.Summary{}, fmt.Errorf("%w: %w: no model %q here, there is big", edge.ErrRefused, edge.ErrNoModel, r.Model)
	}
	text, failed := f.answer(r)
	sum := edge.Summary{PromptTokens: 7, Exact: true, Lossless: true, Target: "big", Numerics: "n/1", FirstToken: 5 * time.Millisecond, Total: 9 * time.Millisecond,
		Uplink: 40, Downlink: 60, Drafted: 6, Finish: f.finish}
	fates := []speculative.Fate{speculative.RunAhead, speculative.Accepted, speculative.Accepted, speculative.Correction, speculative.Accepted, speculative.Bonus}
	for i, p := range pieces(text) {
		if f.pause > 0 {
			select {
			case <-time.After(f.pause):
			case <-ctx.Done():
				return sum, ctx.Err()
			}
		}
		k := edge.GeneratedToken{ID: int32(100 + i), Text: p, Fate: fates[i%len(fates)], Late: i%len(fates) == 0}
		if r.Logprobs > 0 {
			k.Logprob = -0.5
			for n := range r.Logprobs - 1 {
				k.Top = append(k.Top, edge.TokenLogprob{ID: int32(n), Logprob: float32(-n)})
			}
		}
		sum.Tokens++
		e := edge.Event{Tokens: []edge.GeneratedToken{k}}
		if r.Pending {
			e.Pending = "…"
		}
		if err := emit(e); err != nil {
			return sum, err
		}
		if sum.Tokens == r.MaxTokens {
			sum.Finish = speculative.FinishLength
			break
		}
	}
	sum.Usage = speculative.Usage{Judged: 4, Accepted: 3, ScoringPasses: 2, Passes: 3, Positions: 9}
	return sum, failed
}

func (f *fake) Status(context.Context) (edge.Status, error) { return f.status, nil }

func (f *fake) Tokenizer(context.Context, string) (*tokenizer.Tokenizer, error) { return f.tok, f.down }

// demoTokenizer is that of the embedded models.
func demoTokenizer(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	data, ok := models.Embedded(models.DraftName)
	if !ok {
		t.Fatal("the demo draft is not embedded")
	}
	f, err := gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// api is a running server on loopback, with identifiers and times that do not change.
type api struct {
	t   *testing.T
	s   *server
	url string
}

func serve(t *testing.T, e Engine, c Config) *api {
	t.Helper()
	s := newServer(e, c)
	s.begun = time.Unix(1700000000, 0)
	s.now = func() time.Time { return time.Unix(1700000001, 0) }
	var n atomic.Int64
	s.newID = func(prefix string) string { return fmt.Sprintf("%s%024d", prefix, n.Add(1)) }
	h := httptest.NewServer(s.handler())
	t.Cleanup(h.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return &api{t, s, h.URL}
}

// head is an answer without its body.
type head struct {
	StatusCode int
	Header     http.Header
}

// call sends a request and reads the whole answer.
func (a *api) call(method, path, body string, header ...string) (head, string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		a.t.Fatal(err)
	}
	return head{resp.StatusCode, resp.Header}, string(b)
}

func (a *api) post(path, body string) (int, string) {
	a.t.Helper()
	resp, text := a.call(http.MethodPost, path, body)
	return resp.StatusCode, text
}

// golden compares with a file of testdata; OUTRIDER_UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("OUTRIDER_UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s", path, got)
	}
}

package httpengine_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

// scripted answers what a test says, and identifies itself well unless that is to be answered, too.
type scripted struct {
	identify bool
	status   int
	body     []byte
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ok := ""
	switch {
	case s.identify:
	case strings.HasSuffix(r.URL.Path, "info"):
		ok = `{"model_path":"m","context_length":64}`
	case r.URL.Path == "/version", r.URL.Path == "/v1/models":
		ok = `{"version":"1","data":[{"id":"m","max_model_len":64}]}`
	}
	if ok != "" {
		_, _ = w.Write([]byte(ok))
		return
	}
	w.WriteHeader(s.status)
	_, _ = w.Write(s.body)
}

// FuzzAnswer: whatever an inference server answers, its engine makes a choice within the vocabulary or fails with a sentinel.
func FuzzAnswer(f *testing.F) {
	f.Add(false, 200, []byte(`{"meta_info":{"input_top_logprobs":[null,[[-0.1,5,null],[-0.2,1,null]]],"output_top_logprobs":[[[-0.1,3,"x"],[-1,1000000,""]]]}}`))
	f.Add(false, 200, []byte(`{"choices":[{"logprobs":{"top_logprobs":[{"token_id:4":-0.1,"token_id:-5":-3e38}]},"prompt_logprobs":[null,{"1":{"logprob":-1,"rank":1}},{"7":{"logprob":0.5,"rank":-1}}]}]}`))
	f.Add(false, 400, []byte(`{"error":{"message":"context length"}}`))
	f.Add(true, 200, []byte(`{"model_path":"m","context_length":-9,"version":"1","data":[{"id":"","max_model_len":0}]}`))
	f.Add(true, 503, []byte("gone"))
	s := &scripted{}
	server := httptest.NewServer(s)
	f.Cleanup(server.Close)
	options := map[string]string{"tokenizer": models.DraftName, "check": "false", "retries": "0", "top": "2"}
	engines := map[string]backend.Model{}
	for name, load := range loaders {
		m, err := load(context.Background(), server.URL, options, nil)
		if err != nil {
			f.Fatal(err)
		}
		engines[name] = m
		f.Cleanup(func() { _ = m.(interface{ Close() error }).Close() })
	}
	f.Fuzz(func(t *testing.T, identify bool, status int, body []byte) {
		if status < 200 || status > 599 {
			status = 200
		}
		s.identify, s.status, s.body = identify, status, body
		for name, load := range loaders {
			if identify {
				hostileServer(t, load, server.URL, options)
				continue
			}
			e := engines[name]
			seg := backend.Segment{Sequence: 1, Tokens: []backend.Token{1, 2, 3}, From: 1, Logprobs: 3, Setup: &backend.Setup{PromptLength: 2}}
			out, err := e.Forward(context.Background(), []backend.Segment{seg})
			if err != nil {
				if !errors.Is(err, backend.ErrUnavailable) {
					t.Fatalf("%s fails with %v", name, err)
				}
				continue
			}
			if out[0].Err == nil {
				chosen(t, e.Info(), out[0].Choices)
			}
		}
	})
}

func hostileServer(t *testing.T, load backend.Loader, url string, options map[string]string) {
	m, err := load(context.Background(), url, options, nil)
	if err != nil {
		if !errors.Is(err, backend.ErrLoad) && !errors.Is(err, backend.ErrUnavailable) {
			t.Fatal(err)
		}
		return
	}
	if i := m.Info(); i.ContextLength <= 0 || i.KVTokens < i.ContextLength {
		t.Fatalf("taken: %+v", i)
	}
	_ = m.(interface{ Close() error }).Close()
}

func chosen(t *testing.T, info backend.Info, list []speculative.Choice) {
	for _, c := range list {
		if c.Token < 0 || int(c.Token) >= info.VocabularySize || math.IsNaN(float64(c.Confidence)) || c.Confidence < 0 || c.Confidence > 1.001 {
			t.Fatalf("the choice %+v was taken", c)
		}
	}
}

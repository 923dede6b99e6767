package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/speculative"
)

func TestCancelFreesBothModels(t *testing.T) {
	r := newRig(t, link.Config{RTT: 4 * time.Millisecond}, func(r *rig) {
		r.target.step, r.cloud.config.IdleTTL = time.Millisecond, time.Hour
	})
	for seed := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		c := &collect{at: func(n int) {
			if n > 10*seed {
				cancel()
			}
		}}
		s, err := r.edge.Generate(ctx, request(seed, 300), c.emit)
		wantError(t, err, context.Canceled)
		if s.Finish != speculative.FinishCancelled || s.Tokens < len(c.tokens) {
			t.Errorf("summary %+v after %d tokens", s, len(c.tokens))
		}
		r.empty()
	}
}

func TestEmitErrorEndsTheGeneration(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.step = time.Millisecond })
	_, err := r.edge.Generate(t.Context(), request(1, 300), func(Event) error { return io.ErrClosedPipe })
	wantError(t, err, io.ErrClosedPipe)
	r.empty()
}

func TestCloseEndsGenerations(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) {
		r.target.step, r.cloud.config.IdleTTL = time.Millisecond, time.Hour
	})
	var once sync.Once
	_, err := r.edge.Generate(t.Context(), request(1, 400), func(Event) error {
		once.Do(func() { go r.edge.Close() })
		return nil
	})
	wantError(t, err, ErrClosed)
	_ = r.edge.Close()
	r.empty()
	_, err = r.edge.Generate(t.Context(), request(1, 400), (&collect{}).emit)
	wantError(t, err, ErrClosed)
}

// A reader that does not read slows its own session only, and holds up neither memory nor the end.
func TestSlowReader(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.draft, r.cloud.config.Prefixes = nil, -1 })
	release := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		first := true
		req := request(1, 490)
		req.IgnoreEnd = true
		c, _ := r.generate(req, func(int) {
			if first {
				first = false
				<-release
			}
		})
		if len(c.tokens) != 490 {
			t.Errorf("got %d tokens of 490", len(c.tokens))
		}
	}()
	for seed := range 5 {
		req := request(10+seed, 60)
		c, _ := r.generate(req, nil)
		r.identical(req, c)
	}
	eventually(t, "the slow session alone to be left", func() bool { return r.target.held() == 1 })
	time.Sleep(50 * time.Millisecond) // it could run on, and must not
	if n := r.target.held(); n != 1 {
		t.Errorf("%d sequences: the slow session ran to its end", n)
	}
	r.target.mu.Lock()
	for _, s := range r.target.seqs {
		if n := len(s.rows); n > 266 {
			t.Errorf("the target ran on to %d tokens for a reader that does not read", n)
		}
	}
	r.target.mu.Unlock()
	close(release)
	<-done
	r.empty()
}

func TestDeadline(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.step, r.draft = 20*time.Millisecond, nil })
	req := request(2, 400)
	req.IgnoreEnd = true
	req.Deadline = 800 * time.Millisecond
	c, s := r.generate(req, nil)
	if s.Finish != speculative.FinishDeadline || len(c.tokens) == 0 {
		t.Errorf("%d tokens, finish %s", len(c.tokens), s.Finish)
	}
	r.cloud.kill()
	req.Fallback = FallbackWait
	if c, s = r.generate(req, nil); s.Finish != speculative.FinishDeadline || len(c.tokens) != 0 {
		t.Errorf("without a cloud: %d tokens, finish %s", len(c.tokens), s.Finish)
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, link.Config{})
	for name, c := range map[string]struct {
		change func(*Request)
		is     error
		says   string
	}{
		"unknown model":    {func(q *Request) { q.Model = "nobody" }, ErrRefused, "no model \"nobody\""},
		"prompt too long":  {func(q *Request) { q.Tokens = prompt(1, 600) }, ErrRequest, "shorten the prompt"},
		"token range":      {func(q *Request) { q.Tokens = []Token{1, 5000} }, ErrRequest, "vocabulary has 300"},
		"negative token":   {func(q *Request) { q.Tokens = []Token{-1} }, ErrRequest, "vocabulary has 300"},
		"no prompt":        {func(q *Request) { q.Tokens = nil }, ErrRequest, "empty"},
		"two prompts":      {func(q *Request) { q.Prompt = "x" }, ErrRequest, "not several"},
		"text":             {func(q *Request) { q.Tokens, q.Prompt = nil, "x" }, ErrRequest, "no tokenizer"},
		"UTF-8":            {func(q *Request) { q.Tokens, q.Prompt = nil, "\xff" }, ErrRequest, "UTF-8"},
		"temperature":      {func(q *Request) { q.Params.Temperature = -1 }, ErrRequest, "temperature is -1"},
		"two parameters":   {func(q *Request) { q.Params.Temperature, q.Params.TopP = -1, 2 }, ErrRequest, "top_p"},
		"max tokens":       {func(q *Request) { q.MaxTokens = -1 }, ErrRequest, "max_tokens"},
		"stop":             {func(q *Request) { q.Stop = []string{""} }, ErrRequest, "stop string"},
		"stop on toy":      {func(q *Request) { q.Stop = []string{"x"} }, ErrRequest, "stop strings"},
		"run-ahead":        {func(q *Request) { q.MaxPassesPerToken = 2 }, ErrRequest, "max_passes_per_token"},
		"deadline":         {func(q *Request) { q.Deadline = -1 }, ErrRequest, "deadline"},
		"unknown fallback": {func(q *Request) { q.Fallback = 9 }, ErrRequest, "fallback"},
	} {
		q := request(1, 20)
		c.change(&q)
		_, err := r.edge.Generate(t.Context(), q, (&collect{}).emit)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.empty()
}

func TestNewRefuses(t *testing.T) {
	other := newToy(0)
	other.info.Vocabulary = "other"
	for name, c := range map[string]Config{
		"address":    {},
		"vocabulary": {Cloud: "127.0.0.1:1", Vocabulary: "toy", Draft: other},
		"fallback":   {Cloud: "127.0.0.1:1", Fallback: FallbackDraft},
		"run-ahead":  {Cloud: "127.0.0.1:1", RunAhead: 2},
		"malformed":  {Cloud: "127.0.0.1:1:2:3%%"},
	} {
		e, err := New(c)
		if err == nil {
			_ = e.Close()
			if name != "malformed" {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

func TestTargetWithAnotherVocabulary(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.info.Vocabulary = "another" })
	_, err := r.edge.Generate(t.Context(), request(1, 20), (&collect{}).emit)
	wantError(t, err, ErrVocabulary)
	s, err := r.edge.Status(t.Context())
	if err != nil || !strings.Contains(s.Note, "vocabulary") || len(s.Targets) != 1 || s.Draft != "toy" || s.RTT <= 0 {
		t.Errorf("status %+v, error %v", s, err)
	}
}

func TestNotACloud(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gs := grpc.NewServer()
	healthv1.RegisterHealthServer(gs, health.NewServer())
	go func() { _ = gs.Serve(l) }()
	defer gs.Stop()
	e, err := New(Config{Cloud: l.Addr().String(), Vocabulary: "toy"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	_, err = e.Generate(t.Context(), request(1, 20), (&collect{}).emit)
	wantError(t, err, ErrRefused)
	if !strings.Contains(err.Error(), "check the address") {
		t.Error(err)
	}
}

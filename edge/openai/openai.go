// Package openai serves an edge over HTTP as OpenAI's API does, so that chat apps and SDKs use it by
// changing their base URL. docs/api.md lists endpoints, parameters and differences.
package openai

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Engine is what the API needs of an edge; *edge.Edge is one.
type Engine interface {
	Generate(ctx context.Context, r edge.Request, emit func(edge.Event) error) (edge.Summary, error)
	Status(ctx context.Context) (edge.Status, error)
	Tokenizer(ctx context.Context, model string) (*tokenizer.Tokenizer, error)
}

// Config of the API. Zero values mean the defaults.
type Config struct {
	Keys         *Keys         // who may ask; nil: everybody who reaches the address
	Origins      []string      // of web pages that may call besides the edge's own, "*": all; default: none
	MaxBody      int64         // bytes of a request; default 8 MiB
	MaxRequests  int           // generations at once, more get 429; default 1024
	MaxChoices   int           // n of one request; default 16
	Heartbeat    time.Duration // a comment on a stream that is silent for this long; default 10 s
	WriteTimeout time.Duration // a client that takes longer to read what is sent is given up; default 30 s
	Gatherer     prometheus.Gatherer
	Page         http.Handler // at /; nil: none
	Perception   Perception   // nil: recordings and images are refused
	Logger       *slog.Logger
}

func (c *Config) defaults() {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&c.MaxRequests, 1024)
	set(&c.MaxChoices, 16)
	if c.MaxBody <= 0 {
		c.MaxBody = 8 << 20
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = 10 * time.Second
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// server implements the endpoints.
type server struct {
	c      Config
	e      Engine
	models *catalogue
	slots  chan struct{} // one per generation under way
	begun  time.Time
	now    func() time.Time
	newID  func(prefix string) string
	styles styles
	senses *senses
}

// New makes the handler of all endpoints.
func New(e Engine, c Config) http.Handler { return newServer(e, c).handler() }

func newServer(e Engine, c Config) *server {
	c.defaults()
	s := &server{c: c, e: e, models: &catalogue{e: e}, slots: make(chan struct{}, c.MaxRequests), begun: time.Now(),
		now: time.Now, newID: newID, senses: newSenses(c.Perception)}
	return s
}

// newID makes an identifier that nobody guesses.
func newID(prefix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	post := func(path string, h func(http.ResponseWriter, *http.Request, *object) error) {
		mux.Handle("POST "+path, s.protected(s.generation(h)))
	}
	get := func(path string, h http.HandlerFunc) { mux.Handle("GET "+path, s.protected(h)) }
	post("/v1/chat/completions", s.chat)
	post("/v1/completions", s.completions)
	post("/v1/responses", s.responses)
	post("/v1/embeddings", s.embeddings)
	post("/v1/audio/speech", s.speech)
	mux.Handle("POST /v1/audio/transcriptions", s.protected(http.HandlerFunc(s.transcriptions)))
	get("/v1/models", s.listModels)
	get("/v1/models/{id...}", s.getModel)
	get("/outrider/status", s.status)
	get("/outrider/stats", s.stats)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /ready", s.ready)
	if s.c.Gatherer != nil {
		mux.Handle("GET /metrics", s.protected(promhttp.HandlerFor(s.c.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4})))
	}
	mux.HandleFunc("/v1/", s.unknown(mux))
	mux.HandleFunc("/outrider/", s.unknown(mux))
	if s.c.Page != nil {
		mux.Handle("/", s.c.Page)
	} else {
		mux.HandleFunc("/", s.unknown(mux))
	}
	return s.outer(mux)
}

// unknown answers what no endpoint takes: 405 where another method would do, else 404.
func (s *server) unknown(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); method != r.Method && len(pattern) > len(method) && pattern[:len(method)] == method {
				w.Header().Set("Allow", method)
				newError(http.StatusMethodNotAllowed, typeInvalid, "", "method_not_allowed", "%s %s: use %s", r.Method, r.URL.Path, method).write(w)
				return
			}
		}
		newError(http.StatusNotFound, typeInvalid, "", "unknown_url", "unknown request URL: %s %s", r.Method, r.URL.Path).write(w)
	}
}

package openai

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/telemetry"
)

type contextKey int

const callerKey contextKey = 0

// caller is the name of the key that a request came with, empty without keys.
func caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey).(string)
	return name
}

func requestID(ctx context.Context) string {
	return telemetry.RequestID(ctx)
}

// outer is around everything: a request's name, who may call from a browser, and a last net for panics.
func (s *server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !telemetry.ValidRequestID(id) {
			id = s.newID("req_")
		}
		w.Header().Set("X-Request-Id", id)
		r = r.WithContext(telemetry.WithRequestID(r.Context(), id))
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value itself is documented
				s.c.Logger.Error("a request failed inside", "request", id, "path", r.URL.Path, "panic", p)
				panic(http.ErrAbortHandler) // nothing sound can be said any more
			}
		}()
		if e := s.foreign(r); e != nil {
			e.write(w)
			return
		}
		if s.cors(w, r) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// foreign refuses what a web page of somebody else makes a browser send: from an origin that is not
// allowed, or, while no key protects the edge, to a name that only pretends to be it (DNS rebinding).
func (s *server) foreign(r *http.Request) *apiError {
	if s.c.Keys == nil && !localName(r.Host) {
		return newError(http.StatusForbidden, typeInvalid, "", "host_not_allowed",
			"without API keys the edge answers to addresses and localhost only, not to %.100q: call it by its address, or set edge.keys", r.Host)
	}
	origin := r.Header.Get("Origin")
	if origin == "" && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		origin = "null" // a browser that leaves its origin out
	}
	if origin == "" || s.allowed(origin) || strings.EqualFold(origin, "http://"+r.Host) || strings.EqualFold(origin, "https://"+r.Host) {
		return nil
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil // the browser does not let the page read the answer
	}
	return newError(http.StatusForbidden, typeInvalid, "", "origin_not_allowed", "web pages of %.100q may not call this edge: add it to edge.origins", origin)
}

func localName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func (s *server) allowed(origin string) bool {
	return slices.Contains(s.c.Origins, "*") || slices.ContainsFunc(s.c.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// cors lets pages of allowed origins call; it says whether the request only asked for that.
func (s *server) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || !s.allowed(origin) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "*, Authorization") // * does not cover Authorization
	h.Set("Access-Control-Max-Age", "600")
	return true
}

// protected asks for a key when there are any.
func (s *server) protected(next http.Handler) http.Handler {
	if s.c.Keys == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		name, ok := "", false
		if strings.EqualFold(scheme, "Bearer") {
			name, ok = s.c.Keys.Find(strings.TrimSpace(key))
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			msg := "incorrect API key: make one with `outrider keys add NAME` on the edge's machine"
			if key == "" {
				msg = "no API key: send it as `Authorization: Bearer KEY`; `outrider keys add NAME` on the edge's machine makes one"
			}
			newError(http.StatusUnauthorized, typeAuth, "", "invalid_api_key", "%s", msg).write(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey, name)))
	})
}

// bodyTimeout is how long a client may take to send its request.
const bodyTimeout = time.Minute

// generation reads the body and bounds how many generations run at once.
func (s *server) generation(h func(http.ResponseWriter, *http.Request, *object) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.now()
		body, e := s.body(w, r)
		if e != nil {
			e.write(w)
			return
		}
		o, e := parseBody(body)
		if e != nil {
			e.write(w)
			return
		}
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			e := newError(http.StatusTooManyRequests, typeRateLimit, "", "rate_limit_exceeded",
				"%d generations are under way, as many as this edge takes: try again later", s.c.MaxRequests)
			e.retry = time.Second
			e.write(w)
			return
		}
		err := h(w, withMode(r), o)
		s.log(r, began, err)
	})
}

// log tells how a request went, without anything of its text.
func (s *server) log(r *http.Request, began time.Time, err error) {
	level, attrs := slog.LevelInfo, []slog.Attr{slog.String("request", requestID(r.Context())), slog.String("path", r.URL.Path),
		slog.Duration("took", s.now().Sub(began))}
	if name := caller(r.Context()); name != "" {
		attrs = append(attrs, slog.String("caller", name))
	}
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, slog.String("error", plain(err)))
	}
	s.c.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

func (s *server) body(w http.ResponseWriter, r *http.Request) ([]byte, *apiError) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // without one only this client can hang
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.c.MaxBody))
	_ = rc.SetReadDeadline(time.Time{}) // else it would end the answer
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, newError(http.StatusRequestEntityTooLarge, typeInvalid, "", "request_too_large",
			"the body is larger than %d bytes: shorten the conversation", s.c.MaxBody)
	case err != nil:
		return nil, invalid("", "invalid_request", "the body could not be read: %s", plain(err))
	}
	return body, nil
}

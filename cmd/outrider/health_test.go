package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	code := http.StatusServiceUnavailable
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte("the model is loading\n"))
	}))
	defer s.Close()
	addr := strings.TrimPrefix(s.URL, "http://")
	if err := ready(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "loading") {
		t.Errorf("not ready, yet %v", err)
	}
	code = http.StatusOK
	_, port, _ := strings.Cut(addr, ":")
	for _, a := range []string{addr, "0.0.0.0:" + port, ":" + port} {
		if err := ready(t.Context(), a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if err := ready(t.Context(), "nowhere"); err == nil {
		t.Error("an address without port is none")
	}
}

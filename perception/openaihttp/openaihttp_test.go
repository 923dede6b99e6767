package openaihttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bytes"

	"github.com/outrider-llm/outrider/perception/media"
)

// fake is a server as the published API describes it: whisper-server's, a speech server's, a vision model's.
func fake(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/audio/transcriptions", func(w http.ResponseWriter, r *http.Request) {
		f, h, err := r.FormFile("file")
		if err != nil || r.FormValue("model") != "whisper-1" || !strings.HasSuffix(h.Filename, ".wav") {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":{"message":"no file"}}`)
			return
		}
		b, _ := io.ReadAll(f)
		s, err := media.ParseWAV(b)
		if err != nil {
			w.WriteHeader(400)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"text": fmt.Sprintf(" %d samples at %d", len(s.PCM), s.Rate)})
	})
	mux.HandleFunc("POST /v1/audio/speech", func(w http.ResponseWriter, r *http.Request) {
		var v map[string]any
		if json.NewDecoder(r.Body).Decode(&v) != nil || v["input"] == "" || v["voice"] != "alloy" || v["response_format"] != "wav" || r.Header.Get("Authorization") != "Bearer k" {
			w.WriteHeader(401)
			return
		}
		w.Write(media.WAV(media.Sound{Rate: 24000, PCM: make([]int16, 100)}))
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var v struct {
			Messages []struct {
				Content []struct {
					Type     string
					ImageURL struct{ URL string } `json:"image_url"`
				}
			}
		}
		if json.NewDecoder(r.Body).Decode(&v) != nil || len(v.Messages) != 1 || len(v.Messages[0].Content) != 2 {
			w.WriteHeader(400)
			return
		}
		kind, _, err := media.ParseDataURL(v.Messages[0].Content[1].ImageURL.URL, media.MaxImage)
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":"an image of %s %v"}}]}`, kind, err)
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, _ *http.Request) { // piper
		w.Write(media.WAV(media.Sound{Rate: 22050, PCM: make([]int16, 7)}))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func once(b []byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if b == nil {
			return nil, io.EOF
		}
		out := b
		b = nil
		return out, nil
	}
}

func picture() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)))
	return b.Bytes()
}

func TestFaithfulServers(t *testing.T) {
	s := fake(t)
	e, err := Open(map[string]string{"transcribe": s.URL + "/v1", "speak": s.URL + "/v1/", "read": s.URL + "/v1", "key": "k"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := e.Transcribe(t.Context(), "en", once(make([]byte, 3200)), nil)
	if err != nil || text != "1600 samples at 16000" {
		t.Errorf("%q %v", text, err)
	}
	n := 0
	err = e.Speak(t.Context(), media.Speech{Text: "hello"}, func(s media.Sound) error { n = len(s.PCM); return nil })
	if err != nil || n != 100 {
		t.Errorf("%d %v", n, err)
	}
	page, err := e.Read(t.Context(), media.Question{Image: picture()})
	if err != nil || page.Text != "an image of image/png <nil>" {
		t.Errorf("%+v %v", page, err)
	}
	piper, _ := Open(map[string]string{"speak": s.URL, "speak_api": "piper"})
	if err := piper.Speak(t.Context(), media.Speech{Text: "x"}, func(s media.Sound) error { n = s.Rate; return nil }); err != nil || n != 22050 {
		t.Errorf("piper: %d %v", n, err)
	}
}

func TestUnfaithfulServers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>\nhello</html>") }))
	defer s.Close()
	e, _ := Open(map[string]string{"transcribe": s.URL, "speak": s.URL, "read": "http://127.0.0.1:1/v1"})
	_, err1 := e.Transcribe(t.Context(), "", once(make([]byte, 32)), nil)
	err2 := e.Speak(t.Context(), media.Speech{Text: "x"}, func(media.Sound) error { return nil })
	_, err3 := e.Read(t.Context(), media.Question{Image: picture()})
	none, _ := Open(nil)
	_, err4 := none.Transcribe(t.Context(), "", once(nil), nil)
	for i, err := range []error{err1, err2, err3} {
		if !errors.Is(err, media.ErrEngine) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d: %v", i, err)
		}
	}
	if !errors.Is(err4, media.ErrMissing) || len(none.Abilities().Missing) != 3 {
		t.Error(err4)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Transcribe(ctx, "", once(make([]byte, 32)), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMediaStaysHere(t *testing.T) {
	if _, err := Open(map[string]string{"transcribe": "https://api.example.org/v1"}); err == nil || !strings.Contains(err.Error(), "remote") {
		t.Error(err)
	}
	if _, err := Open(map[string]string{"transcribe": "https://api.example.org/v1", "remote": "yes"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []map[string]string{{"speak": "ftp://x"}, {"x": "y"}, {"timeout": "soon"}} {
		if _, err := Open(bad); err == nil {
			t.Error(bad)
		}
	}
}

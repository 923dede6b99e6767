package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/perception/media"
)

// FuzzBodies: whatever is posted to an endpoint, the answer is one in OpenAI's shape and never 500.
func FuzzBodies(f *testing.F) {
	paths := []string{"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/audio/speech"}
	for i, p := range paths {
		for _, b := range validBodies()[p] {
			f.Add(uint8(i), []byte(b))
		}
	}
	f.Add(uint8(0), []byte(`{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}`))
	f.Add(uint8(4), []byte(`{"input":"Hi","voice":"alloy","response_format":"wav","speed":1.5}`))
	h := hostileServer()
	f.Fuzz(func(t *testing.T, endpoint uint8, body []byte) {
		path := paths[int(endpoint)%len(paths)]
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+path, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		answered(t, h, r)
	})
}

// FuzzRecording: whatever form is posted as a recording, the answer is in shape.
func FuzzRecording(f *testing.F) {
	form := func(fields map[string]string, file []byte) (string, []byte) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for k, v := range fields {
			_ = w.WriteField(k, v) // a buffer takes everything
		}
		p, _ := w.CreateFormFile("file", "a.wav")
		_, _ = p.Write(file)
		_ = w.Close()
		return w.FormDataContentType(), b.Bytes()
	}
	wav := media.WAV(media.Sound{Rate: media.Rate, PCM: make([]int16, 8)})
	for _, fields := range []map[string]string{{"model": "m"}, {"language": "en", "response_format": "srt"}, {"stream": "true"}, {"response_format": "verbose_json"}} {
		kind, body := form(fields, wav)
		f.Add(kind, body)
	}
	f.Add("multipart/form-data", []byte("--x"))
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=file\r\n\r\nRIFF\r\n--x--"))
	h := hostileServer()
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/audio/transcriptions", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{kind}
		answered(t, h, r)
	})
}

// hostileServer is the API over an engine without models.
func hostileServer() http.Handler {
	e := newFake(nil, `<think>so</think>Hello <tool_call>{"name":"f","arguments":{"a":1}}</tool_call>`)
	return New(e, Config{MaxChoices: 4, MaxBody: 64 << 10, Heartbeat: time.Hour, Perception: &ears{text: "a page"}})
}

func answered(t *testing.T, h http.Handler, r *http.Request) {
	r.RemoteAddr = "127.0.0.1:1234"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body := w.Body.String()
	switch code := w.Code; {
	case code == http.StatusOK:
		if strings.Contains(body, `"internal_error"`) {
			t.Fatalf("%s: %s", r.URL.Path, body)
		}
	case strings.Contains(body, "host_not_allowed"):
		t.Fatal("the request is not one of this device")
	case code == 500 || code > 504 || !strings.HasPrefix(body, `{"error":{"message":"`) || !json.Valid([]byte(body)):
		t.Fatalf("%s: %d %s", r.URL.Path, code, body)
	}
}

// FuzzKeys: a key file is refused with ErrKeys, or its keys have names and hashes.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(fmt.Sprintf("# keys\nann sha256:%s 2026-01-01\n", HashKey("k"))))
	f.Add([]byte("ann sha256:x"))
	f.Add([]byte("\x00 \x85 sha256:"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseKeys("f", text)
		if err != nil && !errors.Is(err, ErrKeys) {
			t.Fatal(err)
		}
		for _, k := range list {
			if k.Name == "" || len(k.Hash) != 64 {
				t.Fatalf("%+v", k)
			}
		}
	})
}

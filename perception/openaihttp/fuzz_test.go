package openaihttp

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	"net/http"
	"testing"

	"github.com/outrider-llm/outrider/perception/media"
)

// canned answers every request alike.
type canned struct {
	status int
	body   []byte
}

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Body: io.NopCloser(bytes.NewReader(c.body)), Header: http.Header{}}, nil
}

// FuzzAnswer: whatever a server for speech or images answers is an error of package media, or text and sound within their bounds.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"text":"hello"}`))
	f.Add(200, []byte(`{"text":null,"choices":[{"message":{"content":"a page"}}]}`))
	f.Add(400, []byte(`{"error":{"message":"no\u001b[2J"}}`))
	f.Add(200, media.WAV(media.Sound{Rate: media.Rate, PCM: []int16{1, 2, 3}}))
	var pixel bytes.Buffer
	if err := png.Encode(&pixel, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := &Engine{urls: map[string]string{"transcribe": "http://x", "speak": "http://x", "read": "http://x"}, models: map[string]string{},
			client: &http.Client{Transport: canned{status, body}}}
		known := func(err error) {
			if err != nil && !errors.Is(err, media.ErrEngine) && !errors.Is(err, media.ErrMedia) {
				t.Fatalf("fails with %v", err)
			}
		}
		ctx := context.Background()
		_, err := e.Transcribe(ctx, "", func() ([]byte, error) { return nil, io.EOF }, nil)
		known(err)
		known(e.Speak(ctx, media.Speech{Text: "a"}, func(s media.Sound) error {
			if s.Rate <= 0 {
				t.Fatalf("a rate of %d", s.Rate)
			}
			return nil
		}))
		known(func() error { _, err := e.Read(ctx, media.Question{Image: pixel.Bytes()}); return err }())
	})
}

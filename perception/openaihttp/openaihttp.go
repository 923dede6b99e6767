// Package openaihttp perceives through servers that speak OpenAI's API: whisper-server and others for
// /v1/audio/transcriptions, piper and others for /v1/audio/speech, vision models for chat with an image.
package openaihttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/perception"
	"github.com/outrider-llm/outrider/perception/media"
)

// maxAnswer bounds what a server answers, in bytes.
const maxAnswer = 64 << 20

// Engine implements perception.Engine.
type Engine struct {
	urls   map[string]string // by what: transcribe, speak, read
	models map[string]string
	key    string
	piper  bool
	client *http.Client
}

var _ perception.Engine = (*Engine)(nil)

// Open reads the options: transcribe, speak and read are base URLs such as http://127.0.0.1:8080/v1, transcribe_model,
// speak_model and read_model the models, key the API key, speak_api piper for piper's own HTTP server, timeout (60s), and
// remote yes to allow URLs of other machines.
func Open(options map[string]string) (perception.Engine, error) {
	e := &Engine{urls: map[string]string{}, models: map[string]string{}, client: &http.Client{Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for k, v := range options {
		switch k {
		case "transcribe", "speak", "read":
			if err := check(k, v, options["remote"] == "yes"); err != nil {
				return nil, err
			}
			e.urls[k] = strings.TrimRight(v, "/")
		case "transcribe_model", "speak_model", "read_model":
			e.models[strings.TrimSuffix(k, "_model")] = v
		case "key":
			e.key = v
		case "speak_api":
			e.piper = v == "piper"
		case "timeout":
			d, err := time.ParseDuration(v)
			if err != nil || d <= 0 {
				return nil, fmt.Errorf("%w: the option timeout is %q, must be a time such as 60s", media.ErrMedia, v)
			}
			e.client.Timeout = d
		case "remote":
		default:
			return nil, fmt.Errorf("%w: no option %q: there are transcribe, speak, read, their _model, key, speak_api, timeout and remote", media.ErrMedia, k)
		}
	}
	return e, nil
}

// check refuses a URL of another machine unless it is asked for: media stays on this device.
func check(what, s string, remote bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%w: the option %s is %q, must be a URL such as http://127.0.0.1:8080/v1", media.ErrMedia, what, s)
	}
	ip := net.ParseIP(u.Hostname())
	if remote || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%w: the option %s names another machine, %s: what is heard and seen would leave this device; set the option remote to yes to want that",
		media.ErrMedia, what, u.Host)
}

// Abilities implements perception.Engine.
func (e *Engine) Abilities() media.Abilities {
	a := media.Abilities{Engine: "openai-http", Transcribes: e.urls["transcribe"] != "", Speaks: e.urls["speak"] != "", Reads: e.urls["read"] != ""}
	for _, k := range []string{"transcribe", "speak", "read"} {
		if e.urls[k] == "" {
			a.Missing = append(a.Missing, fmt.Sprintf("no server is set to %s: set perception.options.%s to its URL", k, k))
		}
	}
	return a
}

// post sends a request and returns the body of the answer.
func (e *Engine) post(ctx context.Context, what, path, kind string, body io.Reader) ([]byte, error) {
	base := e.urls[what]
	if base == "" {
		return nil, fmt.Errorf("%w: no server is set to %s: set perception.options.%s to its URL", media.ErrMissing, what, what)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", media.ErrEngine, err)
	}
	r.Header.Set("Content-Type", kind)
	if e.key != "" {
		r.Header.Set("Authorization", "Bearer "+e.key)
	}
	resp, err := e.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("%w: the server to %s at %s does not answer (%w): start it, or correct perception.options.%s", media.ErrEngine, what, base, err, what)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: the server to %s broke off: %w", media.ErrEngine, what, err)
	case len(b) > maxAnswer:
		return nil, fmt.Errorf("%w: the server to %s answers with more than %d MiB", media.ErrEngine, what, maxAnswer>>20)
	case resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnprocessableEntity:
		return nil, fmt.Errorf("%w: the server to %s refuses it: %s", media.ErrMedia, what, message(b))
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: the server to %s answers %s: %s", media.ErrEngine, what, resp.Status, message(b))
	}
	return b, nil
}

// message is what an error answer says.
func message(b []byte) string {
	var v struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	s := string(b[:min(len(b), 200)])
	if json.Unmarshal(b, &v) == nil && v.Error.Message != "" {
		s = v.Error.Message
	}
	return strings.Join(strings.Fields(media.Plain(s)), " ")
}

// Transcribe implements perception.Engine; servers want the whole recording.
func (e *Engine) Transcribe(ctx context.Context, language string, next func() ([]byte, error), _ func(string) error) (string, error) {
	var pcm []byte
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if pcm = append(pcm, b...); len(pcm) > int(media.MaxSound.Seconds())*media.Rate*2 {
			return "", fmt.Errorf("%w: the recording is longer than %s", media.ErrMedia, media.MaxSound)
		}
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for k, v := range map[string]string{"model": e.model("transcribe", "whisper-1"), "language": language, "response_format": "json"} {
		if v != "" {
			_ = w.WriteField(k, v) // a buffer takes everything
		}
	}
	f, _ := w.CreateFormFile("file", "speech.wav")
	_, _ = f.Write(media.WAV(media.Sound{Rate: media.Rate, PCM: media.Samples(pcm)}))
	_ = w.Close()
	b, err := e.post(ctx, "transcribe", "/audio/transcriptions", w.FormDataContentType(), &body)
	if err != nil {
		return "", err
	}
	var v struct {
		Text *string `json:"text"`
	}
	if err := json.Unmarshal(b, &v); err != nil || v.Text == nil {
		return "", fmt.Errorf("%w: the server to transcribe answers with no text: %s", media.ErrEngine, message(b))
	}
	return strings.TrimSpace(*v.Text), nil
}

func (e *Engine) model(what, def string) string {
	if m := e.models[what]; m != "" {
		return m
	}
	return def
}

// Speak implements perception.Engine.
func (e *Engine) Speak(ctx context.Context, s media.Speech, emit func(media.Sound) error) error {
	voice := s.Voice
	if voice == "" {
		voice = "alloy"
	}
	path, req := "/audio/speech", map[string]any{"model": e.model("speak", "tts-1"), "input": s.Text, "voice": voice, "response_format": "wav"}
	if s.Speed != 0 {
		req["speed"] = s.Speed
	}
	if e.piper { // python -m piper.http_server
		path, req = "/", map[string]any{"text": s.Text}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("%w: %w", media.ErrMedia, err)
	}
	b, err := e.post(ctx, "speak", path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	sound, err := media.ParseWAV(b)
	if err != nil {
		return fmt.Errorf("%w: the server to speak answers with no WAV file: %w", media.ErrEngine, err)
	}
	return emit(sound)
}

// Read implements perception.Engine: a vision model describes the image.
func (e *Engine) Read(ctx context.Context, q media.Question) (media.Page, error) {
	clean, err := media.CleanImage(q.Image)
	if err != nil {
		return media.Page{}, err
	}
	ask := "Write down all text in this image, and say in a few sentences what it shows."
	if q.Text != "" {
		ask += " The person asks: " + q.Text
	}
	body, err := json.Marshal(map[string]any{"model": e.model("read", "default"), "max_tokens": 1024, "temperature": 0, "messages": []any{map[string]any{"role": "user",
		"content": []any{map[string]any{"type": "text", "text": ask},
			map[string]any{"type": "image_url", "image_url": map[string]any{"url": "data:image/png;base64," + base64.StdEncoding.EncodeToString(clean)}}}}}})
	if err != nil {
		return media.Page{}, fmt.Errorf("%w: %w", media.ErrMedia, err)
	}
	b, err := e.post(ctx, "read", "/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		return media.Page{}, err
	}
	var v struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Choices) == 0 {
		return media.Page{}, fmt.Errorf("%w: the server to read answers with no text: %s", media.ErrEngine, message(b))
	}
	return media.Page{Text: v.Choices[0].Message.Content}, nil
}

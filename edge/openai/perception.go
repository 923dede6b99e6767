package openai

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/outrider-llm/outrider/perception/media"
)

// Perception is what the API needs to hear, speak and read; *perception.Host is one. Errors wrap media's.
type Perception interface {
	Abilities() media.Abilities
	Transcribe(ctx context.Context, language string, next func() ([]byte, error), emit func(text string) error) (string, error)
	Speak(ctx context.Context, s media.Speech, emit func(media.Sound) error) error
	Read(ctx context.Context, q media.Question) (media.Page, error)
}

// Bounds on perception.
const (
	maxPerceptions = 4        // calls at once, more wait
	maxAudio       = 25 << 20 // bytes of a recording, OpenAI's bound
	maxAttachments = 16       // images and recordings of one request
	maxRemembered  = 128      // texts of images and recordings, which clients send again with every turn
)

// senses bounds the use of a perception engine and remembers what it found.
type senses struct {
	p     Perception // nil: perception is off
	slots chan struct{}

	mu    sync.Mutex
	known map[[sha256.Size]byte]string
}

func newSenses(p Perception) *senses {
	return &senses{p: p, slots: make(chan struct{}, maxPerceptions), known: map[[sha256.Size]byte]string{}}
}

func errPerceptionOff() error {
	return fmt.Errorf("%w: perception is off: set perception.engine to local or openai-http", media.ErrMissing)
}

// enter waits for a place; leave gives it back.
func (s *senses) enter(ctx context.Context) (leave func(), err error) {
	if s.p == nil {
		return nil, errPerceptionOff()
	}
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *senses) transcribe(ctx context.Context, language string, sound media.Sound, emit func(string) error) (string, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	rest := media.Resample(sound, media.Rate).Bytes()
	return s.p.Transcribe(ctx, language, func() ([]byte, error) {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		n := min(1<<15, len(rest))
		b := rest[:n]
		rest = rest[n:]
		return b, nil
	}, emit)
}

func (s *senses) speak(ctx context.Context, speech media.Speech, emit func(media.Sound) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if speech.Language == "" {
		speech.Language = languageOf(speech.Text)
	}
	return s.p.Speak(ctx, speech, emit)
}

func (s *senses) read(ctx context.Context, image []byte) (string, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	page, err := s.p.Read(ctx, media.Question{Image: image})
	if err != nil {
		return "", err
	}
	text := page.Text
	for _, b := range page.Barcodes {
		text += fmt.Sprintf("\n(%s: %s)", b.Kind, b.Text)
	}
	return strings.TrimSpace(text), nil
}

// languageOf guesses a language from its script; empty: the engine's own.
func languageOf(text string) string {
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			return "ja"
		case unicode.Is(unicode.Hangul, r):
			return "ko"
		case unicode.Is(unicode.Cyrillic, r):
			return "ru"
		case unicode.Is(unicode.Han, r) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana) }):
			return "cmn"
		}
	}
	return ""
}

// remembered returns what find found for the data before, or now.
func (s *senses) remembered(kind string, data []byte, find func() (string, error)) (string, error) {
	h := sha256.New()
	h.Write([]byte(kind + "\x00")) // a hash takes everything
	h.Write(data)
	key := [sha256.Size]byte(h.Sum(nil))
	s.mu.Lock()
	text, ok := s.known[key]
	s.mu.Unlock()
	if ok {
		return text, nil
	}
	text, err := find()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxRemembered {
		clear(s.known)
	}
	s.known[key] = text
	return text, nil
}

// perceptionError is what a client is told.
func perceptionError(err error, param string) *apiError {
	var e *apiError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, media.ErrMedia):
		e = invalid(param, "invalid_media", "%s", strings.TrimPrefix(plain(err), media.ErrMedia.Error()+": "))
	case errors.Is(err, media.ErrMissing):
		e = newError(http.StatusNotImplemented, typeInvalid, param, "perception_unavailable", "%s (outrider doctor lists what is missing)",
			strings.TrimPrefix(plain(err), media.ErrMissing.Error()+": "))
		e.final = true
	case errors.Is(err, media.ErrEngine):
		e = newError(http.StatusServiceUnavailable, typeServer, param, "perception_failed", "%s", plain(err))
		e.retry = time.Second
	default:
		e = errorOf(err, "")
	}
	return e
}

// perceiver reads the parts of one request that are media.
type perceiver struct {
	ctx context.Context
	s   *senses
	n   int
}

// attachment returns a part's text for the model, framed as untrusted. Nothing else of it goes on.
func (v *perceiver) attachment(p *object, kind string) string {
	if v.n++; v.n > maxAttachments {
		p.fail("type", "invalid_value", "more than %d images and recordings in one request", maxAttachments)
	}
	if *p.err != nil {
		return ""
	}
	var text string
	var err error
	field := "image_url"
	if kind == "input_audio" {
		field = "input_audio"
		text, err = v.recording(p.sub(field))
	} else {
		text, err = v.image(p)
	}
	if err != nil && *p.err == nil {
		*p.err = perceptionError(err, p.path+field)
	}
	return text
}

func (v *perceiver) recording(a *object) (string, error) {
	body, format := a.must("data"), a.must("format")
	if format != "wav" && *a.err == nil {
		a.fail("format", "unsupported_value", "'%sformat' is %.40q: recordings are read as wav", a.path, format)
	}
	if *a.err != nil {
		return "", *a.err
	}
	if len(body) > maxAudio/3*4+4 {
		return "", fmt.Errorf("%w: the recording has more than %d MiB", media.ErrMedia, maxAudio>>20)
	}
	data, err := media.Base64(body)
	if err != nil {
		return "", err
	}
	text, err := v.s.remembered("audio", data, func() (string, error) {
		sound, err := media.ParseWAV(data)
		if err != nil {
			return "", err
		}
		return v.s.transcribe(v.ctx, "", sound, func(string) error { return nil })
	})
	if err != nil {
		return "", err
	}
	return media.Untrusted("Speech heard in the attached recording", text), nil
}

func (v *perceiver) image(p *object) (string, error) {
	var url string
	if kindOf(p.m["image_url"]) == "an object" {
		url = p.sub("image_url").must("url")
	} else {
		url = p.must("image_url") // as in responses
	}
	if *p.err != nil {
		return "", *p.err
	}
	kind, data, err := media.ParseDataURL(url, media.MaxImage)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(kind, "image/") {
		return "", fmt.Errorf("%w: the data: URL is of type %.40q, must be image/png, image/jpeg or image/gif", media.ErrMedia, kind)
	}
	text, err := v.s.remembered("image", data, func() (string, error) { return v.s.read(v.ctx, data) })
	if err != nil {
		return "", err
	}
	return media.Untrusted("Text read from the attached image", text), nil
}

// status is the field perception of /outrider/status.
func (s *senses) status() map[string]any {
	if s.p == nil {
		return map[string]any{"engine": "off", "transcribes": false, "speaks": false, "reads": false,
			"missing": []string{"perception is off: set perception.engine to local or openai-http"}}
	}
	a := s.p.Abilities()
	return map[string]any{"engine": a.Engine, "transcribes": a.Transcribes, "speaks": a.Speaks, "reads": a.Reads, "missing": append([]string{}, a.Missing...)}
}

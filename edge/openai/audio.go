package openai

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/perception/media"
)

// pcmRate is the rate of the format pcm, OpenAI's.
const pcmRate = 24000

// transcription is a request of /v1/audio/transcriptions.
type transcription struct {
	file             []byte
	language, format string
	stream           bool
}

// transcriptions is POST /v1/audio/transcriptions.
func (s *server) transcriptions(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	err := s.transcribe(w, r)
	s.log(r, began, err)
}

func (s *server) transcribe(w http.ResponseWriter, r *http.Request) error {
	fail := func(err error) error {
		perceptionError(err, "file").write(w)
		return err
	}
	t, err := s.readTranscription(w, r)
	if err != nil {
		return fail(err)
	}
	sound, err := media.ParseWAV(t.file)
	if err != nil {
		return fail(err)
	}
	if t.stream {
		return s.transcribeStream(w, r, t, sound)
	}
	text, err := s.senses.transcribe(r.Context(), t.language, sound, func(string) error { return nil })
	if err != nil {
		return fail(err)
	}
	t.write(w, text, sound.Duration())
	return nil
}

// write answers in the format that was asked for.
func (t *transcription) write(w http.ResponseWriter, text string, d time.Duration) {
	stamp := func(comma string) string {
		return fmt.Sprintf("%02d:%02d:%02d%s%03d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60, comma, d.Milliseconds()%1000)
	}
	var body string
	switch t.format {
	case "json":
		writeJSON(w, http.StatusOK, map[string]any{"text": text})
		return
	case "verbose_json":
		segments := []any{}
		if text != "" {
			segments = append(segments, map[string]any{"id": 0, "start": 0, "end": d.Seconds(), "text": text})
		}
		writeJSON(w, http.StatusOK, map[string]any{"task": "transcribe", "language": t.language, "duration": d.Seconds(), "text": text, "segments": segments})
		return
	case "srt":
		body = fmt.Sprintf("1\n00:00:00,000 --> %s\n%s\n", stamp(","), text)
	case "vtt":
		body = fmt.Sprintf("WEBVTT\n\n00:00:00.000 --> %s\n%s\n", stamp("."), text)
	default:
		body = text + "\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, body) // a client that is gone needs no answer
}

func (s *server) transcribeStream(w http.ResponseWriter, r *http.Request, t *transcription, sound media.Sound) error {
	out := newStream(w, s.c.Heartbeat, s.c.WriteTimeout)
	defer out.close()
	told := ""
	tell := func(text string) error {
		more, ok := strings.CutPrefix(text, told)
		if !ok || more == "" {
			return nil // the end tells the whole
		}
		told = text
		return out.send("", map[string]any{"type": "transcript.text.delta", "delta": more})
	}
	text, err := s.senses.transcribe(r.Context(), t.language, sound, tell)
	if err != nil {
		out.fail(perceptionError(err, "file"), errorChunk)
		return err
	}
	if err := tell(text); err != nil {
		return err
	}
	return out.send("", map[string]any{"type": "transcript.text.done", "text": text})
}

// maxField bounds a field of a form, in bytes.
const maxField = 64 << 10

// readTranscription reads the form; nothing of it is written to disk.
func (s *server) readTranscription(w http.ResponseWriter, r *http.Request) (*transcription, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // without one only this client can hang
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	r.Body = http.MaxBytesReader(w, r.Body, maxAudio+1<<20)
	form, err := r.MultipartReader()
	if err != nil {
		return nil, invalid("", "invalid_request", "the body is no multipart form: send the recording as the file field `file`")
	}
	t := &transcription{format: "json"}
	for range 32 {
		p, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return t, t.check()
		}
		if err == nil {
			err = t.field(p)
		}
		if err != nil {
			return nil, formError(err)
		}
	}
	return nil, invalid("", "invalid_request", "the form has more than 32 fields")
}

func formError(err error) error {
	var large *http.MaxBytesError
	var e *apiError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &large):
		return newError(http.StatusRequestEntityTooLarge, typeInvalid, "file", "request_too_large", "the recording is larger than %d MiB: send it in parts", maxAudio>>20)
	}
	return invalid("", "invalid_request", "the form cannot be read: %.200s", plain(err))
}

func (t *transcription) field(p *multipart.Part) error {
	if p.FormName() == "file" {
		var err error
		t.file, err = io.ReadAll(p)
		return err
	}
	b, err := io.ReadAll(io.LimitReader(p, maxField+1))
	if err != nil {
		return err
	}
	if len(b) > maxField {
		return invalid(p.FormName(), "invalid_value", "the field is longer than %d bytes", maxField)
	}
	switch v := string(b); p.FormName() {
	case "language":
		t.language = v
	case "response_format":
		t.format = v
	case "stream":
		t.stream = v == "true"
	}
	return nil // model, prompt and temperature make no difference here
}

func (t *transcription) check() error {
	switch t.format {
	case "json", "text", "verbose_json", "srt", "vtt":
	default:
		return invalid("response_format", "invalid_value", "'response_format' is %.40q, must be json, text, verbose_json, srt or vtt", t.format)
	}
	if len(t.file) == 0 {
		return invalid("file", "missing_required_parameter", "missing required parameter: 'file': send a WAV file")
	}
	return nil
}

// speech is POST /v1/audio/speech.
func (s *server) speech(w http.ResponseWriter, r *http.Request, o *object) error {
	speech := media.Speech{Text: o.must("input"), Voice: o.text("voice"), Language: o.text("language"), Speed: o.number("speed", 1, 0.25, 4)}
	format := o.text("response_format")
	if n := len([]rune(speech.Text)); n > media.MaxSpeech {
		o.fail("input", "string_above_max_length", "'input' has %d characters, at most %d are spoken", n, media.MaxSpeech)
	}
	switch format {
	case "", "wav", "pcm":
	default:
		o.fail("response_format", "unsupported_value", "'response_format' is %.40q: this edge speaks wav and pcm", format)
	}
	if f := o.text("stream_format"); f != "" && f != "audio" {
		o.fail("stream_format", "unsupported_value", "'stream_format' is %.40q, must be audio", f)
	}
	if *o.err != nil {
		(*o.err).write(w)
		return *o.err
	}
	var all media.Sound
	err := s.senses.speak(r.Context(), speech, func(p media.Sound) error {
		all.Rate, all.PCM = p.Rate, append(all.PCM, p.PCM...)
		return nil
	})
	if err != nil {
		perceptionError(err, "input").write(w)
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	body, kind := media.WAV(all), "audio/wav"
	if format == "pcm" {
		body, kind = media.Resample(all, pcmRate).Bytes(), "audio/pcm"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // a client that is gone needs no answer
	return nil
}

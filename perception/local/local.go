// Package local perceives with programs that Debian packages: pocketsphinx hears, flite and espeak-ng
// speak, tesseract and zbarimg read. Each runs as a process with bounded time, memory and output and sees no
// file that came from outside, only what was decoded and written anew.
package local

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/perception"
	"github.com/outrider-llm/outrider/perception/media"
)

// Engine implements perception.Engine.
type Engine struct {
	language string
	voice    string
	timeout  time.Duration
	programs map[string]string // paths, by name
}

var _ perception.Engine = (*Engine)(nil)

// Open reads the options: language (en), voice (slt, of flite), timeout (60s), and for each program its path.
func Open(options map[string]string) (perception.Engine, error) {
	e := &Engine{language: "en", voice: "slt", timeout: maxTime, programs: map[string]string{}}
	for k, v := range options {
		switch _, program := packages()[k]; {
		case k == "language":
			e.language = v
		case k == "voice":
			e.voice = v
		case k == "timeout":
			d, err := time.ParseDuration(v)
			if err != nil || d <= 0 {
				return nil, fmt.Errorf("%w: the option timeout is %q, must be a time such as 60s", media.ErrMedia, v)
			}
			e.timeout = d
		case program:
			e.programs[k] = v
		default:
			return nil, fmt.Errorf("%w: no option %q: there are language, voice, timeout and paths of %s", media.ErrMedia, k,
				strings.Join(slices.Sorted(maps.Keys(packages())), ", "))
		}
	}
	return e, nil
}

func (e *Engine) program(name string) string {
	if p := e.programs[name]; p != "" {
		return p
	}
	return name
}

func (e *Engine) has(name string) bool {
	_, err := exec.LookPath(e.program(name))
	return err == nil
}

// Abilities implements perception.Engine.
func (e *Engine) Abilities() media.Abilities {
	a := media.Abilities{Engine: "local", Transcribes: e.has("pocketsphinx_continuous"), Speaks: e.has("flite") || e.has("espeak-ng"), Reads: e.has("tesseract")}
	what := map[string]string{"pocketsphinx_continuous": "hears speech", "flite": "speaks English", "espeak-ng": "speaks other languages",
		"tesseract": "reads text in images", "zbarimg": "reads barcodes and QR codes"}
	for _, p := range slices.Sorted(maps.Keys(packages())) {
		if !e.has(p) {
			a.Missing = append(a.Missing, fmt.Sprintf("%s (%s) is not installed: apt-get install %s", p, what[p], packages()[p]))
		}
	}
	return a
}

// pull reads a recording as the program takes it, and bounds it.
type pull struct {
	next func() ([]byte, error)
	rest []byte
	n    int
}

func (p *pull) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		var err error
		if p.rest, err = p.next(); err != nil {
			return 0, err
		}
		if p.n += len(p.rest); p.n > int(media.MaxSound.Seconds())*media.Rate*2 {
			return 0, fmt.Errorf("%w: the recording is longer than %s", media.ErrMedia, media.MaxSound)
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Transcribe implements perception.Engine: pocketsphinx decodes while the samples come and writes a line after each
// silence.
func (e *Engine) Transcribe(ctx context.Context, language string, next func() ([]byte, error), emit func(string) error) (string, error) {
	if language != "" && language != "en" && !strings.HasPrefix(language, "en-") {
		return "", fmt.Errorf("%w: pocketsphinx's model hears English, not %.20q: use the engine openai-http with a whisper server", media.ErrMissing, language)
	}
	in := &pull{next: next}
	var heard bytes.Buffer
	text := func() string { return strings.Join(strings.Fields(heard.String()), " ") }
	_, err := e.run(ctx, job{name: "pocketsphinx_continuous", args: []string{"-infile", "/dev/stdin", "-logfn", "/dev/null"}, in: in,
		time: media.MaxSound + 2*e.timeout, stdout: func(b []byte) error {
			heard.Write(b)
			if bytes.HasSuffix(b, []byte("\n")) {
				return emit(text())
			}
			return nil
		}})
	return text(), err
}

var languageName = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)

// Speak implements perception.Engine.
func (e *Engine) Speak(ctx context.Context, s media.Speech, emit func(media.Sound) error) error {
	text := media.Plain(s.Text)
	language := s.Language
	if language == "" {
		language = e.language
	}
	switch {
	case text == "":
		return fmt.Errorf("%w: there is nothing to say", media.ErrMedia)
	case len(text) > 4*media.MaxSpeech:
		return fmt.Errorf("%w: the text has %d bytes, at most %d are spoken at once", media.ErrMedia, len(text), 4*media.MaxSpeech)
	case !languageName.MatchString(language):
		return fmt.Errorf("%w: %.20q is no language: use one such as en or zh", media.ErrMedia, language)
	}
	speed := s.Speed
	if speed == 0 {
		speed = 1
	}
	speed = min(4, max(0.25, speed))
	return scratch(func(dir string) error {
		// In a file, so that no text is ever taken for an option.
		if err := os.WriteFile(filepath.Join(dir, "text.txt"), []byte(text+"\n"), 0o600); err != nil {
			return fmt.Errorf("%w: %w", media.ErrEngine, err)
		}
		j := job{name: "espeak-ng", dir: dir, args: []string{"-v", language, "-s", strconv.Itoa(int(175 * speed)), "-f", "text.txt", "-w", "out.wav"}}
		if strings.HasPrefix(language, "en") && e.has("flite") {
			j.name, j.args = "flite", []string{"-voice", e.voiceOf(s.Voice), "--setf", fmt.Sprintf("duration_stretch=%.2f", 1/speed), "-f", "text.txt", "-o", "out.wav"}
		}
		if _, err := e.run(ctx, j); err != nil {
			return err
		}
		wav, err := os.ReadFile(filepath.Join(dir, "out.wav"))
		if err != nil {
			return fmt.Errorf("%w: %s wrote nothing", media.ErrEngine, j.name)
		}
		sound, err := media.ParseWAV(wav)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", media.ErrEngine, j.name, err)
		}
		return emit(sound)
	})
}

// voiceOf maps names of voices: flite's own, else its default, since clients send OpenAI's names.
func (e *Engine) voiceOf(name string) string {
	if slices.Contains([]string{"kal", "kal16", "awb", "rms", "slt"}, name) {
		return name
	}
	return e.voice
}

// Read implements perception.Engine.
func (e *Engine) Read(ctx context.Context, q media.Question) (media.Page, error) {
	clean, err := media.CleanImage(q.Image)
	if err != nil {
		return media.Page{}, err
	}
	var page media.Page
	err = scratch(func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "page.png"), clean, 0o600); err != nil {
			return fmt.Errorf("%w: %w", media.ErrEngine, err)
		}
		out, err := e.run(ctx, job{name: "tesseract", dir: dir, args: []string{"page.png", "stdout", "-l", tesseractLanguage(q.Language), "--dpi", "150", "tsv"}})
		if err != nil {
			return err
		}
		page.Text, page.Confidence = parseTSV(string(out))
		if !e.has("zbarimg") {
			return nil
		}
		out, err = e.run(ctx, job{name: "zbarimg", dir: dir, args: []string{"-q", "--xml", "page.png"}})
		var status *exec.ExitError
		if errors.As(err, &status) && status.ExitCode() == 4 {
			return nil // it found none
		}
		page.Barcodes = parseCodes(out)
		return err
	})
	return page, err
}

// tesseractLanguage is tesseract's name for a language.
func tesseractLanguage(l string) string {
	names := map[string]string{"de": "deu", "fr": "fra", "es": "spa", "it": "ita", "pt": "por", "zh": "chi_sim", "ja": "jpn"}
	if n := names[l]; n != "" {
		return n
	}
	return "eng"
}

// parseTSV reads tesseract's words, line by line, and their mean confidence.
func parseTSV(tsv string) (string, float64) {
	var b strings.Builder
	line, sum, n := "", 0.0, 0
	for row := range strings.Lines(tsv) {
		f := strings.Split(strings.TrimRight(row, "\n"), "\t")
		if len(f) < 12 || f[0] != "5" || strings.TrimSpace(f[11]) == "" { // 5: a word
			continue
		}
		at := strings.Join(f[1:5], " ") // page, block, paragraph, line
		switch {
		case line == "":
		case at != line:
			b.WriteByte('\n')
		default:
			b.WriteByte(' ')
		}
		line = at
		b.WriteString(f[11])
		if c, err := strconv.ParseFloat(f[10], 64); err == nil && c >= 0 {
			sum, n = sum+c/100, n+1
		}
	}
	if n == 0 {
		return "", 0
	}
	return b.String(), sum / float64(n)
}

// parseCodes reads zbarimg's XML.
func parseCodes(b []byte) []media.Barcode {
	var doc struct {
		Symbols []struct {
			Type string `xml:"type,attr"`
			Data string `xml:"data"`
		} `xml:"source>index>symbol"`
	}
	if err := xml.NewDecoder(io.LimitReader(bytes.NewReader(b), 1<<20)).Decode(&doc); err != nil {
		return nil
	}
	var out []media.Barcode
	for _, s := range doc.Symbols {
		out = append(out, media.Barcode{Kind: s.Type, Text: s.Data})
	}
	return out
}

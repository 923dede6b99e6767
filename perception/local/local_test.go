package local

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/perception/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program writes a shell script that stands for one of the programs.
func program(t *testing.T, script string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the programs' stand-ins are shell scripts")
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, options map[string]string) *Engine {
	t.Helper()
	e, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	return e.(*Engine)
}

func picture() []byte {
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	img.Set(1, 1, color.White)
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

func TestProgramsThatMisbehave(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"hangs", "sleep 100 & sleep 100", "took longer than"},
		{"floods", "exec cat /dev/zero", "MiB of output"},
		{"floods its errors", "exec cat /dev/zero >&2", "MiB of output"},
		{"fails", "echo 'no such\nlanguage' >&2; exit 1", "no such language"},
		{"crashes", "kill -SEGV $$", "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := "30s"
			if c.name == "hangs" {
				timeout = "300ms"
			}
			e := open(t, map[string]string{"tesseract": program(t, c.script), "timeout": timeout})
			begun := time.Now()
			_, err := e.Read(t.Context(), media.Question{Image: picture()})
			if !errors.Is(err, media.ErrEngine) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Error(err)
			}
			if d := time.Since(begun); d > 15*time.Second {
				t.Errorf("it took %s", d)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	e := open(t, map[string]string{"tesseract": program(t, "sleep 100")})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.Read(ctx, media.Question{Image: picture()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestMissingProgram(t *testing.T) {
	e := open(t, map[string]string{"tesseract": "/nowhere/tesseract", "flite": "/nowhere/flite", "espeak-ng": "/nowhere/e", "pocketsphinx_continuous": "/nowhere/p", "zbarimg": "/nowhere/z"})
	_, err := e.Read(t.Context(), media.Question{Image: picture()})
	if !errors.Is(err, media.ErrMissing) || !strings.Contains(err.Error(), "apt-get install tesseract-ocr") {
		t.Error(err)
	}
	if a := e.Abilities(); a.Reads || a.Speaks || a.Transcribes || len(a.Missing) != 5 {
		t.Errorf("%+v", a)
	}
	if _, err := Open(map[string]string{"color": "red"}); err == nil || !strings.Contains(err.Error(), "tesseract") {
		t.Error(err)
	}
}

func TestSpeakRefuses(t *testing.T) {
	e := open(t, nil)
	for _, s := range []media.Speech{{}, {Text: "\x00\r\n"}, {Text: "x", Language: "../../etc"}, {Text: "x", Language: "-w"}, {Text: strings.Repeat("x", 1<<20)}} {
		if err := e.Speak(t.Context(), s, nil); !errors.Is(err, media.ErrMedia) {
			t.Errorf("%.30v: %v", s, err)
		}
	}
}

func TestParse(t *testing.T) {
	row := func(line, conf, word string) string {
		return "5\t1\t1\t1\t" + line + "\t1\t0\t0\t9\t9\t" + conf + "\t" + word + "\n"
	}
	text, conf := parseTSV("level\tpage\n4\t1\n" + row("1", "90", "Hello") + row("1", "70", "world") + row("2", "-1", "again"))
	if text != "Hello world\nagain" || conf < 0.79 || conf > 0.81 {
		t.Errorf("%q %g", text, conf)
	}
	codes := parseCodes([]byte(`<barcodes><source><index num='0'><symbol type='QR-Code'><data><![CDATA[a]]></data></symbol></index></source></barcodes>`))
	if len(codes) != 1 || codes[0] != (media.Barcode{Kind: "QR-Code", Text: "a"}) {
		t.Errorf("%+v", codes)
	}
}

// need skips a test where programs are not installed.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skipf("%s is not installed: apt-get install %s", n, packages()[n])
		}
	}
}

func pieces(b []byte, n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(b) == 0 {
			return nil, io.EOF
		}
		k := min(n, len(b))
		out := b[:k]
		b = b[k:]
		return out, nil
	}
}

func TestSpeaksAndHears(t *testing.T) {
	need(t, "flite", "pocketsphinx_continuous")
	e := open(t, nil)
	var all media.Sound
	if err := e.Speak(t.Context(), media.Speech{Text: "The weather is fine today and we go to the park."}, func(s media.Sound) error { all = s; return nil }); err != nil {
		t.Fatal(err)
	}
	sound := media.Resample(all, media.Rate)
	sound.PCM = append(sound.PCM, make([]int16, media.Rate)...)
	text, err := e.Transcribe(t.Context(), "en", pieces(sound.Bytes(), 3000), func(string) error { return nil })
	if err != nil || text != "the weather is fine today and we go to the park" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := e.Transcribe(t.Context(), "zh", pieces(nil, 1), nil); !errors.Is(err, media.ErrMissing) {
		t.Error(err)
	}
}

func TestSpeaksChinese(t *testing.T) {
	need(t, "espeak-ng")
	n := 0
	if err := open(t, nil).Speak(t.Context(), media.Speech{Text: "你好", Language: "cmn"}, func(s media.Sound) error { n = len(s.PCM); return nil }); err != nil || n < 4000 {
		t.Error(n, err)
	}
}

func TestReadsCodes(t *testing.T) {
	need(t, "tesseract", "zbarimg")
	file := filepath.Join(t.TempDir(), "q.png")
	if out, err := exec.Command("qrencode", "-s", "6", "-o", file, "https://example.org/42").CombinedOutput(); err != nil {
		t.Skipf("qrencode is not installed: apt-get install qrencode (%v %s)", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page, err := open(t, nil).Read(t.Context(), media.Question{Image: b})
	if err != nil || len(page.Barcodes) != 1 || page.Barcodes[0].Text != "https://example.org/42" {
		t.Errorf("%+v %v", page, err)
	}
	if page, err = open(t, nil).Read(t.Context(), media.Question{Image: picture()}); err != nil || len(page.Barcodes) != 0 {
		t.Errorf("%+v %v", page, err)
	}
}

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

// TestReadsText reads a page that Chromium has painted; a part of make verify.
func TestReadsText(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("part of make verify: set OUTRIDER_VERIFY=1")
	}
	need(t, "tesseract")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.html"), []byte(`<body style="font:32px serif;margin:40px">Invoice 4711<br>Total due: 42 euros by Friday`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=700,220", "--user-data-dir="+filepath.Join(dir, "u"),
		"--screenshot="+filepath.Join(dir, "p.png"), "file://"+filepath.Join(dir, "p.html")).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	b, err2 := os.ReadFile(filepath.Join(dir, "p.png"))
	if err != nil || err2 != nil {
		t.Fatal(err, err2, string(out))
	}
	page, err := open(t, nil).Read(t.Context(), media.Question{Image: b})
	if err != nil || page.Text != "Invoice 4711\nTotal due: 42 euros by Friday" || page.Confidence < 0.8 {
		t.Errorf("%+v %v", page, err)
	}
}

// wordErrors counts the words that must be changed to make one text of another.
func wordErrors(want, got string) int {
	w, g := strings.Fields(want), strings.Fields(got)
	row := make([]int, len(g)+1)
	for j := range row {
		row[j] = j
	}
	for i, a := range w {
		last := row[0]
		row[0] = i + 1
		for j, b := range g {
			cost := last
			if a != b {
				cost++
			}
			last, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(g)]
}

// TestWordErrors reports the word error rate on flite's speech and on recordings; a part of make verify.
func TestWordErrors(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("part of make verify: set OUTRIDER_VERIFY=1")
	}
	need(t, "flite", "pocketsphinx_continuous")
	e := open(t, nil)
	hear := func(s media.Sound) string {
		s = media.Resample(s, media.Rate)
		s.PCM = append(s.PCM, make([]int16, media.Rate/2)...)
		text, err := e.Transcribe(t.Context(), "", pieces(s.Bytes(), 4096), func(string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	wrong, words := 0, 0
	for _, s := range []string{"the weather is fine today and we go to the park", "once upon a time there was a little girl", "he found a big red ball in the garden",
		"please turn on the light in the kitchen", "the train leaves at seven in the morning", "my brother lives in a small house near the river",
		"she wanted to buy some bread and butter", "we have to finish the work before the evening", "can you tell me how to get to the station",
		"the dog was very happy to see his friend"} {
		var sound media.Sound
		if err := e.Speak(t.Context(), media.Speech{Text: s}, func(p media.Sound) error { sound = p; return nil }); err != nil {
			t.Fatal(err)
		}
		wrong, words = wrong+wordErrors(s, hear(sound)), words+len(strings.Fields(s))
	}
	t.Logf("flite's slt: %d of %d words wrong", wrong, words)
	if wrong*100 > words*15 {
		t.Errorf("%d of %d words wrong", wrong, words)
	}
	data := filepath.Join("..", "..", "..", "shared", "data", "speech")
	wav, err := os.ReadFile(filepath.Join(data, "jfk.wav"))
	raw, err2 := os.ReadFile(filepath.Join(data, "goforward.raw"))
	if err != nil || err2 != nil {
		t.Skip("no recordings in ../shared/data/speech: only flite's voice was heard")
	}
	jfk, err := media.ParseWAV(wav)
	if err != nil {
		t.Fatal(err)
	}
	const said = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
	t.Logf("jfk.wav: %d of 22 words wrong", wordErrors(said, hear(jfk)))
	if text := hear(media.Sound{Rate: media.Rate, PCM: media.Samples(raw)}); wordErrors("go forward ten meters", text) > 1 {
		t.Errorf("goforward.raw: %q", text)
	}
}

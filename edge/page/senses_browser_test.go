//go:build verify

package page

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/perception/media"
)

func (f *fake) perception() map[string]any {
	return map[string]any{"transcribes": f.senses, "speaks": f.senses, "reads": f.senses, "missing": []string{"perception is off: set perception.engine"}}
}

func (f *fake) transcribe(w http.ResponseWriter, r *http.Request) {
	file, _, err := r.FormFile("file")
	if err != nil {
		apiError(w, 400, "", err.Error())
		return
	}
	b, _ := io.ReadAll(file)
	f.set(func() { f.heard = append(f.heard, b) })
	writeJSON(w, map[string]string{"text": "tell me of Max"})
}

func (f *fake) speak(w http.ResponseWriter, r *http.Request) {
	var v struct{ Input string }
	_ = json.NewDecoder(r.Body).Decode(&v)
	f.set(func() { f.spoken = append(f.spoken, v.Input) })
	w.Write(media.WAV(media.Sound{Rate: media.Rate, PCM: make([]int16, media.Rate/50)}))
}

// voiceFile is a WAV file of a tone.
func voiceFile(t *testing.T) string {
	s := media.Sound{Rate: 48000, PCM: make([]int16, 96000)}
	for i := range s.PCM {
		s.PCM[i] = int16(9000 * math.Sin(float64(i)/30))
	}
	file := filepath.Join(t.TempDir(), "voice.wav")
	if err := os.WriteFile(file, media.WAV(s), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSensesOff(t *testing.T) {
	f := newFake(t)
	b := newBrowser(t, f.URL, look{})
	b.until("the reason", `document.querySelector("#mic").title.includes("perception.engine")`)
	if !eval[bool](b, `document.querySelector("#mic").disabled && document.querySelector("#attach").disabled`) {
		t.Error("the buttons are not disabled")
	}
	b.ask("Tell me")
	if n := len(b.seen(".aloud")); n != 0 {
		t.Errorf("%d buttons to read aloud", n)
	}
}

func TestMicrophoneImageAndReadAloud(t *testing.T) {
	f := newFake(t)
	f.senses = true
	b := newBrowser(t, f.URL, look{microphone: voiceFile(t)})
	b.until("the microphone", `!document.querySelector("#mic").disabled`)
	b.click("#mic")
	b.until("recording", `document.querySelector("#mic").getAttribute("aria-pressed") === "true"`)
	b.do(`await new Promise(f => setTimeout(f, 1500))`)
	b.click("#mic")
	b.until("what was heard", `document.querySelector("#prompt").value === "tell me of Max"`)
	s, err := media.ParseWAV(f.heard[0])
	loud := 0
	for _, v := range s.PCM {
		loud = max(loud, int(v))
	}
	if err != nil || s.Rate != media.Rate || s.Duration().Seconds() < 0.5 || loud < 1000 {
		t.Errorf("the recording: %v, %d Hz, %s, peak %d", err, s.Rate, s.Duration(), loud)
	}
	b.do(`const c = document.createElement("canvas"); c.width = c.height = 8;
		const blob = await new Promise(f => c.toBlob(f, "image/png"));
		const d = new DataTransfer(); d.items.add(new File([blob], "sign.png", {type: "image/png"}));
		document.querySelector("#main").dispatchEvent(new DragEvent("drop", {dataTransfer: d, bubbles: true, cancelable: true}))`)
	b.until("the image", `document.querySelector("#attached-name").textContent === "sign.png" && !document.querySelector("#attached").hidden`)
	b.document("page-senses.png")
	b.do(`document.querySelector("#send").click()`)
	b.answered()
	if got := fmt.Sprint(f.bodies()[0]["messages"]); !strings.Contains(got, "data:image/png;base64,") || !strings.Contains(got, "tell me of Max") {
		t.Errorf("the request: %.200s", got)
	}
	b.want(".image-note", "With image sign.png: its text is read on this device, the image stays here")
	b.until("read aloud", `document.querySelector(".aloud")`)
	b.click(".aloud")
	b.until("the end of reading", `true`)
	for range 100 {
		f.mu.Lock()
		n := len(f.spoken)
		f.mu.Unlock()
		if n >= 2 {
			break
		}
		b.do(`await new Promise(f => setTimeout(f, 50))`)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.spoken) < 2 || !strings.HasPrefix(f.spoken[0], "Once there was a little dog") {
		t.Errorf("spoken: %q", f.spoken)
	}
}

//go:build verify

package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is one tab of a real Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
	mu  sync.Mutex
	bad []string // what the browser complained about
}

// look is how the page is looked at.
type look struct {
	width, height int64
	dark          bool
	language      string // default: en-US
	phone         bool
	microphone    string   // WAV file that it hears
	expect        []string // complaints of the browser that are meant
}

// newBrowser starts Chromium and opens the address. A test fails on any complaint of the browser that
// it does not expect: errors of scripts, of the content policy, of the network.
func newBrowser(t *testing.T, address string, l look) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	if l.width == 0 {
		l.width, l.height = 1360, 860
	}
	if l.language == "" {
		l.language = "en-US"
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("lang", l.language), chromedp.Flag("accept-lang", l.language), chromedp.WindowSize(int(l.width), int(l.height)),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("disable-background-networking", true), chromedp.Flag("font-render-hinting", "none"))
	if l.microphone != "" {
		opts = append(opts, chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
			chromedp.Flag("use-file-for-fake-audio-capture", l.microphone), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	}
	actx, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	b := &browser{t: t}
	var cancel context.CancelFunc
	b.ctx, cancel = chromedp.NewContext(actx, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	// The first call binds the browser to its context, which must not be one that ends.
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	call(b, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: "Mozilla/5.0 Chrome", AcceptLanguage: l.language})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.phone})
	call(b, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: l.phone})
	b.open(address)
	t.Cleanup(func() {
		if t.Failed() {
			b.shot(filepath.Join(os.TempDir(), "outrider-page-"+strings.ReplaceAll(t.Name(), "/", "-")+".png"))
		}
		b.mu.Lock()
		defer b.mu.Unlock()
	next:
		for _, s := range b.bad {
			for _, e := range l.expect {
				if strings.Contains(s, e) {
					continue next
				}
			}
			t.Errorf("the browser complains: %s", s)
		}
	})
	return b
}

func (b *browser) listen(ev any) {
	s := ""
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		s = e.ExceptionDetails.Text + " " + e.ExceptionDetails.URL
		if x := e.ExceptionDetails.Exception; x != nil {
			s += x.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != "error" {
			return
		}
		for _, a := range e.Args {
			s += string(a.Value) + a.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != "error" && e.Entry.Source != "security" {
			return
		}
		s = fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL)
	case *page.EventJavascriptDialogOpening:
		s = "a dialog: " + e.Message
	default:
		return
	}
	b.mu.Lock()
	b.bad = append(b.bad, s)
	b.mu.Unlock()
}

// run runs an action within a minute.
func run[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// call runs a command of the browser's protocol.
func call[P, R any](b *browser, c cdp.Command[P, R], p P) R {
	b.t.Helper()
	return run(b, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, p) })
}

func (b *browser) open(address string) {
	b.t.Helper()
	run(b, chromedp.Navigate(address))
	b.until("the page to be there", `document.querySelector("#send svg") && document.querySelector("#messages").firstChild`)
}

// eval returns a value of the page.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// do runs a statement of the page.
func (b *browser) do(js string) {
	b.t.Helper()
	eval[bool](b, "(async () => {"+js+"; return true})()")
}

// until waits for an expression of the page to be truthy.
func (b *browser) until(what, js string) {
	b.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if eval[bool](b, "!!("+js+")") {
			return
		}
	}
	b.t.Fatalf("waited in vain for %s; the page says:\n%s", what, eval[string](b, "document.body.innerText"))
}

// text types with the keyboard, key presses one.
func (b *browser) text(s string) {
	b.t.Helper()
	call(b, input.InsertText, input.InsertTextParams{Text: s})
}
func (b *browser) key(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		code := map[string]int64{"Enter": 13, "Escape": 27, "Tab": 9, "Shift+Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "End": 35, " ": 32}[k]
		p := input.DispatchKeyEventParams{Type: "keyDown", Key: strings.TrimPrefix(k, "Shift+"), Code: strings.TrimPrefix(k, "Shift+"), WindowsVirtualKeyCode: code}
		if strings.HasPrefix(k, "Shift+") {
			p.Modifiers = 8
		}
		switch k { // what the key writes
		case "Enter":
			p.Text = "\r"
		case " ":
			p.Text, p.Code = " ", "Space"
		}
		call(b, input.DispatchKeyEvent, p)
		p.Type, p.Text = "keyUp", ""
		call(b, input.DispatchKeyEvent, p)
	}
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.until(selector, fmt.Sprintf("document.querySelector(%q)", selector))
	b.do(fmt.Sprintf("document.querySelector(%q).click()", selector))
}

// ask sends a message and waits for its answer.
func (b *browser) ask(s string) {
	b.t.Helper()
	b.send(s)
	b.answered()
}

func (b *browser) send(s string) {
	b.t.Helper()
	b.do(`document.querySelector("#prompt").focus()`)
	n := eval[int](b, `document.querySelectorAll(".message").length`)
	b.text(s)
	b.key("Enter")
	b.until("the message to be sent", fmt.Sprintf(`document.querySelectorAll(".message").length > %d`, n))
}

func (b *browser) answered() {
	b.t.Helper()
	b.until("an answer", `document.querySelector(".answer:last-child") && !document.querySelector(".writing")`)
}

// seen returns the texts of what the selector finds.
func (b *browser) seen(selector string) []string {
	b.t.Helper()
	return eval[[]string](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent)`, selector))
}

func (b *browser) want(selector string, want ...string) {
	b.t.Helper()
	if got := b.seen(selector); fmt.Sprint(got) != fmt.Sprint(want) {
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		b.t.Errorf("%s: %s, want %s", selector, g, w)
	}
}

func (b *browser) shot(file string) {
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
		if err := os.WriteFile(file, png, 0o600); err != nil {
			b.t.Error(err)
		}
		b.t.Logf("screenshot %s", file)
	}
}

// shots is where screenshots for the documentation go, empty: none are made.
func (b *browser) document(name string) {
	if dir := os.Getenv("PAGE_SHOTS"); dir != "" {
		b.do("await new Promise(f => setTimeout(f, 300))")
		b.shot(filepath.Join(dir, name))
	}
}

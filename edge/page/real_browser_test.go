//go:build verify

package page

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// freeAddress returns an address that nobody listens on, most likely.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a process until stop is called, or the test is over.
func start(t *testing.T, program string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "OUTRIDER_") }) // settings, all of them
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := false
	stop = func() {
		if !over {
			over = true
			cancel()
			_ = cmd.Wait() // it was killed
		}
	}
	t.Cleanup(stop)
	return stop
}

// built is the program.
func built(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "outrider")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "../../cmd/outrider").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// ready waits until an edge would answer.
func ready(t *testing.T, web string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if r, err := http.Get("http://" + web + "/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("edge and cloud are not ready after a minute")
		}
	}
}

// The page of a real edge: an answer, the cloud killed in its midst, the cloud back.
func TestRealEdgeAndCloud(t *testing.T) {
	program := built(t)
	cloud, web := freeAddress(t), freeAddress(t)
	startCloud := func() func() {
		return start(t, program, "cloud", "--listen", cloud, "--admin", "", "--pace", "40ms+0.3ms")
	}
	kill := startCloud()
	start(t, program, "edge", "--cloud", cloud, "--listen", freeAddress(t), "--admin", "", "--http", web, "--cache", "none")
	ready(t, web)
	b := newBrowser(t, "http://"+web, look{expect: []string{"Failed to load resource"}})
	b.until("the link", `document.querySelector("#link").dataset.state == "fine"`)
	b.do(`localStorage.setItem("outrider.settings", JSON.stringify({ temperature: 0, maxTokens: 400 }))`)
	b.open("http://" + web)
	b.send("Once upon a time, there was a little girl named Lily.")
	b.until("some tokens", `document.querySelectorAll(".writing .t").length > 60`)
	b.document("page-light.png")
	kill()
	b.until("the banner", `!document.querySelector("#banner").hidden && /cloud/.test(document.querySelector("#banner").textContent)`)
	startCloud()
	b.answered()
	b.until("the banner to go", `document.querySelector("#banner").hidden`)
	if got := b.seen(".answer .problem"); len(got) > 0 {
		t.Errorf("the answer failed: %q", got)
	}
	if n := len(b.seen(".answer .t.accepted")); n == 0 {
		t.Error("no token was accepted")
	}
	if notes := strings.Join(b.seen(".answer .note"), " "); !strings.Contains(notes, "went on where it was") {
		t.Errorf("the notes say %q", notes)
	}
}

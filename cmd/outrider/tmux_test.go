//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
)

// tmux is a terminal of its own in which a program runs.
type tmux struct {
	t      *testing.T
	socket string
}

func (x *tmux) run(args ...string) string {
	x.t.Helper()
	c := exec.Command("tmux", append([]string{"-S", x.socket, "-f", "/dev/null"}, args...)...)
	c.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "TMUX=")
	b, err := c.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v %s", args, err, b)
	}
	return string(b)
}

func (x *tmux) screen() string { return x.run("capture-pane", "-p") }
func (x *tmux) all() string    { return x.run("capture-pane", "-p", "-J", "-S", "-") }

func (x *tmux) enter(text string) {
	x.run("send-keys", "-l", text)
	x.run("send-keys", "Enter")
}

func (x *tmux) wants(text string) {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(x.all(), text); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("no %q on\n%s", text, x.all())
		}
	}
}

// TestChatInATerminal talks in a real terminal: ask, stop, commands, resize, an edge that goes away.
func TestChatInATerminal(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil || !verifying() {
		t.Skip("make verify with tmux runs it")
	}
	s, err := startStack(t.Context(), stackConfig{rtt: 20 * time.Millisecond, draft: models.DraftName, cloudArgs: []string{"--pace", "20ms+0.1ms"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	dir := t.TempDir()
	x := &tmux{t, filepath.Join(dir, "tmux")}
	x.run("new-session", "-d", "-x", "90", "-y", "24", "-e", "XDG_STATE_HOME="+dir, os.Args[0]+" chat -t 0 --edge "+s.edge.addr()+"; sleep 60")
	t.Cleanup(func() { x.run("kill-server") })
	keep := func(name string) { // for docs/terminal.md
		if to := os.Getenv("CAPTURES"); to != "" {
			if err := os.WriteFile(filepath.Join(to, name+".txt"), []byte(x.screen()), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
	x.wants("drafts for")
	x.enter("Tell me a story about a dog.")
	x.wants("esc stops")
	x.wants("acceptance ≈")
	keep("answering")
	x.run("send-keys", "Escape")
	x.wants("stopped")
	x.enter("/system Be brief.")
	x.wants("system message: Be brief.")
	x.enter("/new")
	x.wants("a new conversation")
	x.enter("Tell me a story about a cat.")
	x.wants("esc stops")
	x.run("resize-window", "-x", "45", "-y", "14")
	x.wants("tokens ·")
	x.wants("/token")
	keep("narrow")
	for l := range strings.SplitSeq(x.screen(), "\n") {
		if n := len([]rune(l)); n > 45 {
			t.Errorf("%d cells: %q", n, l)
		}
	}
	x.run("resize-window", "-x", "90", "-y", "24")
	x.enter("/nonsense")
	x.wants("there is no command /nonsense")
	keep("idle")
	x.run("send-keys", "Up")
	x.run("send-keys", "Up")
	time.Sleep(200 * time.Millisecond)
	if !strings.Contains(x.screen(), "> Tell me a story about a cat.") {
		t.Errorf("no history:\n%s", x.screen())
	}
	x.run("send-keys", "C-c")
	s.edge.kill()
	x.wants("no edge answers")
	x.enter("/quit")
	time.Sleep(500 * time.Millisecond)
	if screen := x.screen(); strings.Contains(screen, "ready") || strings.Contains(screen, "✗") {
		t.Errorf("the panel stays behind:\n%s", screen)
	}
}

package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// script is an edge that answers as it is told.
type script struct{ status error }

func (s *script) Ask(_ context.Context, r *outriderv1.GenerateRequest, _ func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error) {
	return nil, errors.New("not run in these tests")
}

func (s *script) Status(context.Context) (*outriderv1.StatusResponse, error) {
	return &outriderv1.StatusResponse{Draft: "small", Targets: []*outriderv1.TargetInfo{{Name: "big"}}}, s.status
}

// rig feeds a model messages; no command that it returns is run.
type rig struct {
	t *testing.T
	m *Model
}

func newRig(t *testing.T) *rig {
	t.Helper()
	m := New(t.Context(), Config{Client: &script{}, Request: &outriderv1.GenerateRequest{Sampling: &outriderv1.Sampling{Seed: 1}}})
	r := &rig{t, m}
	r.m.input.Focus()
	r.size(80, 24)
	r.feed(statusMsg{st: &outriderv1.StatusResponse{Draft: "small", Targets: []*outriderv1.TargetInfo{{Name: "big"}}}})
	return r
}

func (r *rig) feed(msg tea.Msg) { r.m.Update(msg) }

func (r *rig) size(w, h int) { r.feed(tea.WindowSizeMsg{Width: w, Height: h}) }

func (r *rig) key(code rune, mod tea.KeyMod) { r.feed(tea.KeyPressMsg{Code: code, Mod: mod}) }

func (r *rig) enter(text string) {
	for _, c := range text {
		if c == '\n' {
			r.key('j', tea.ModCtrl)
			continue
		}
		r.feed(tea.KeyPressMsg{Code: c, Text: string(c)})
	}
	r.m.printing = true // so that what goes to the scrollback gathers in out
	r.key(tea.KeyEnter, 0)
}

// scrollback is what was printed, without styles.
func (r *rig) scrollback() string { return ansi.Strip(strings.Join(r.m.out, "\n")) }

// screen is what is shown, checked against the size of the window.
func (r *rig) screen() string {
	r.t.Helper()
	s := ansi.Strip(r.m.View().Content)
	lines := strings.Split(s, "\n")
	if len(lines) > r.m.height {
		r.t.Errorf("%d lines on a screen of %d:\n%s", len(lines), r.m.height, s)
	}
	for _, l := range lines {
		if w := ansi.StringWidth(l); w > r.m.width {
			r.t.Errorf("a line of %d cells on a screen of %d: %q", w, r.m.width, l)
		}
	}
	return s
}

func (r *rig) want(where, text string) {
	r.t.Helper()
	if !strings.Contains(where, text) {
		r.t.Errorf("no %q in\n%s", text, where)
	}
}

func (r *rig) got(pending string, tokens ...*outriderv1.GeneratedToken) {
	r.feed(gotMsg{id: r.m.answer.id, responses: []*outriderv1.GenerateResponse{{Tokens: tokens, Pending: pending, Progress: &outriderv1.Progress{
		AtUs: 50000, Linked: true, Depth: 3, RttUs: 40000, UplinkBytes: 12, DownlinkBytes: 34, PlainUs: 41000}}}})
}

func token(text string, f outriderv1.Fate) *outriderv1.GeneratedToken {
	return &outriderv1.GeneratedToken{Text: text, Fate: f}
}

func (r *rig) answered(text string) {
	r.got("", token(text, outriderv1.Fate_FATE_ACCEPTED), token("!", outriderv1.Fate_FATE_BONUS))
	r.feed(doneMsg{r.m.answer.id, &outriderv1.Summary{Exact: true, TotalUs: 100000, Usage: &outriderv1.Usage{Judged: 4, Accepted: 1, ScoringPasses: 1}}, nil})
}

func TestAnswerStreams(t *testing.T) {
	r := newRig(t)
	r.enter("hello")
	r.want(r.scrollback(), "> hello")
	r.got(" lived", token("Once", outriderv1.Fate_FATE_ACCEPTED), token(" there", outriderv1.Fate_FATE_CORRECTION))
	s := r.screen()
	for _, want := range []string{"Once there lived", "answering", "acceptance ≈ 0.50", "length 2.0", "depth 3", "RTT 40 ms", "↑ 12 B ↓ 34 B", "cloud alone ≈ 41 ms", "esc stops"} {
		r.want(s, want)
	}
	raw := r.m.View().Content
	if r.key('t', tea.ModCtrl); r.m.View().Content == raw {
		t.Error("Ctrl-T changes no colour")
	}
	r.answered(" a dog")
	r.want(r.scrollback(), "Once there a dog!")
	r.want(r.scrollback(), "acceptance 0.25")
	if n := len(r.m.talk); n != 2 || r.m.talk[1].GetContent() != "Once there a dog!" || r.m.answer != nil {
		t.Errorf("%d turns: %v", n, r.m.talk)
	}
	r.want(r.screen(), "ready")
}

func TestEscStops(t *testing.T) {
	r := newRig(t)
	r.enter("hello")
	r.got("", token("Once", outriderv1.Fate_FATE_RUN_AHEAD))
	r.key(tea.KeyEscape, 0)
	r.want(r.screen(), "stopping")
	r.feed(doneMsg{r.m.answer.id, nil, context.Canceled})
	r.want(r.scrollback(), "stopped")
	if len(r.m.talk) != 2 || strings.Contains(r.scrollback(), "canceled") {
		t.Errorf("%v %s", r.m.talk, r.scrollback())
	}
	r.feed(gotMsg{id: 1, responses: []*outriderv1.GenerateResponse{{Tokens: []*outriderv1.GeneratedToken{token("late", 1)}}}})
	if strings.Contains(r.screen(), "late") {
		t.Error("an answer that was left goes on")
	}
}

func TestCommands(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "talk.json")
	r.enter("hello")
	r.answered("Hi")
	for _, c := range []struct{ line, want string }{
		{"/help", "/regenerate"}, {"/temperature 0.5", "temperature: 0.5"}, {"/temperature hot", "must be a number"},
		{"/system be brief", "system message: be brief"}, {"/model", "there are: big"}, {"/model huge", "does not list"},
		{"/mode only-in-cloud", "mode: only_in_cloud"}, {"/mode x", "must be auto, cooperative"}, {"/fallback draft", "no cloud in reach: draft"},
		{"/fallback", "must be fail"}, {"/fates", "hidden"}, {"/stats", "hidden"}, {"/pending", "hidden"}, {"/save " + file, "2 messages saved"},
		{"/save " + file, "is there already"}, {"/load", "needs the name"}, {"/load /", "no file"}, {"/nonsense", "no command /nonsense"},
		{"/new", "a new conversation"}, {"/regenerate", "nothing to answer again"}, {"/edit", "no question"},
		{"/load " + file, "2 messages loaded"},
	} {
		r.m.out = nil
		r.enter(c.line)
		r.want(r.scrollback(), c.want)
	}
	if q := r.m.request(); q.GetModel() != "huge" || q.GetMode() != outriderv1.Mode_MODE_ONLY_IN_CLOUD || q.GetSampling().GetTemperature() != 0.5 ||
		q.GetFallback() != outriderv1.Fallback_FALLBACK_DRAFT || len(q.GetConversation().GetMessages()) != 3 {
		t.Errorf("%v", q)
	}
	r.enter("/regenerate")
	if r.m.answer == nil || r.m.c.Request.GetSampling().GetSeed() != 2 || len(r.m.talk) != 1 {
		t.Errorf("%v", r.m.talk)
	}
	r.enter("/new") // not while an answer is under way
	r.want(r.scrollback(), "Esc stops it")
	r.m.input.Reset()
	r.answered("Hello")
	r.enter("/edit")
	if r.m.input.Value() != "hello" || len(r.m.talk) != 0 {
		t.Errorf("%q %v", r.m.input.Value(), r.m.talk)
	}
	r.m.input.Reset()
	r.enter("/quit")
	if !r.m.leaving {
		t.Error("/quit does not leave")
	}
}

func TestInput(t *testing.T) {
	r := newRig(t)
	r.enter("one\ntwo")
	if got := r.m.talk[0].GetContent(); got != "one\ntwo" {
		t.Errorf("%q", got)
	}
	r.answered("x")
	r.m.input.SetValue(`three\`)
	r.key(tea.KeyEnter, 0)
	if got := r.m.input.Value(); got != "three\n" {
		t.Errorf("%q", got)
	}
	r.m.input.Reset()
	r.key(tea.KeyUp, 0)
	if got := r.m.input.Value(); got != "one\ntwo" {
		t.Errorf("%q", got)
	}
	r.m.input.SetValue("/rege")
	r.key(tea.KeyTab, 0)
	if got := r.m.input.Value(); got != "/regenerate" {
		t.Errorf("%q", got)
	}
	r.key('c', tea.ModCtrl)
	if r.m.input.Value() != "" || r.m.leaving {
		t.Error("Ctrl-C clears the input first")
	}
	r.key('d', tea.ModCtrl)
	if !r.m.leaving {
		t.Error("Ctrl-D leaves")
	}
}

func TestEdgeAwayAndBack(t *testing.T) {
	r := newRig(t)
	r.m.printing = true
	r.feed(statusMsg{err: errors.New("no edge answers")})
	r.feed(statusMsg{err: errors.New("no edge answers")})
	if strings.Count(r.scrollback(), "no edge answers") != 1 {
		t.Error(r.scrollback())
	}
	r.want(r.screen(), "no edge")
	r.enter("hello")
	r.feed(doneMsg{r.m.answer.id, nil, errors.New("no edge answers at all")})
	r.want(r.scrollback(), "at all")
	if r.m.input.Value() != "hello" || len(r.m.talk) != 0 {
		t.Error("the question is lost")
	}
	r.feed(statusMsg{st: &outriderv1.StatusResponse{}})
	r.want(r.scrollback(), "the edge is there")
}

// TestEveryWindow: nothing is wider or higher than the window, and no text is lost or doubled.
func TestEveryWindow(t *testing.T) {
	for _, w := range []int{1, 2, 5, 12, 20, 40, 80, 200} {
		for _, h := range []int{5, 8, 24} {
			r := newRig(t)
			r.size(w, h)
			r.enter("tell me")
			r.m.out = nil
			var want strings.Builder
			for i := range 120 {
				word := fmt.Sprintf("w%d 字 ", i)
				want.WriteString(word)
				r.got("pending text that goes on and on", token(word, outriderv1.Fate_FATE_ACCEPTED))
				if i == 60 {
					r.size(w+3, h+1)
				}
				if w > 4 {
					r.screen()
				}
			}
			r.feed(doneMsg{r.m.answer.id, nil, context.Canceled})
			shown := strings.Join(strings.Fields(strings.ReplaceAll(r.scrollback(), "\n", "")), "")
			if !strings.HasPrefix(shown, strings.Join(strings.Fields(want.String()), "")) {
				t.Errorf("%dx%d: %s", w, h, r.scrollback())
			}
		}
	}
}

func TestModelsCannotSteerTheTerminal(t *testing.T) {
	r := newRig(t)
	r.enter("hello")
	r.got("\x1b[2Jpending", token("a\x1b]0;title\x07b\u202ec\x9bd", outriderv1.Fate_FATE_ACCEPTED))
	for _, bad := range []string{"\x1b[2J", "\x1b]0", "\u202e", "\x07", "\u009b"} {
		if strings.Contains(r.m.View().Content, bad) {
			t.Errorf("%q gets through", bad)
		}
	}
}

func TestHistoryIsBoundedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "history")
	h, err := OpenHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxEntries + 5 {
		if i < 5 || i > maxEntries {
			err = h.Add(fmt.Sprint("entry\n", i))
		} else {
			h.entries = append(h.entries, fmt.Sprint("entry\n", i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v %v", i, err)
	}
	again, err := OpenHistory(path)
	if err != nil || len(again.entries) != maxEntries || again.entries[maxEntries-1] != fmt.Sprint("entry\n", maxEntries+4) {
		t.Errorf("%d entries, %v", len(again.entries), err)
	}
	if e, ok := again.Move(-1, "typing"); !ok || !strings.HasPrefix(e, "entry") {
		t.Errorf("%q", e)
	}
	if e, ok := again.Move(1, ""); !ok || e != "typing" {
		t.Errorf("%q", e)
	}
}

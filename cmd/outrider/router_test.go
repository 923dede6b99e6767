package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/edge/router"
)

// routedAnswer is what the tests read of an answer.
type routedAnswer struct {
	Choices []struct{ Message struct{ Content string } }
	Metrics struct {
		Outrider struct {
			Exact      bool
			Unverified int `json:"unverified_tokens"`
			Passes     int `json:"target_passes"`
			Routing    struct {
				Where, Mode, Reason, Rule string
				EscalatedAt               int `json:"escalated_at"`
				Shown, Kept               int
			}
		}
	}
}

func (r *routedAnswer) text() string { return r.Choices[0].Message.Content }

// ask posts one question to a running edge.
func (s *stack) ask(t *testing.T, mode string, tokens int, more string) *routedAnswer {
	t.Helper()
	code, body := post(t, "http://"+s.edge.http()+"/v1/chat/completions", fmt.Sprintf(
		`{"messages":[{"role":"user","content":"Tell me a story."}],"max_tokens":%d,"temperature":0,"outrider":{"mode":%q%s}}`, tokens, mode, more))
	v := &routedAnswer{}
	if err := json.Unmarshal([]byte(body), v); err != nil || code != 200 || len(v.Choices) != 1 {
		t.Fatalf("%s: %d %s %v", mode, code, body, err)
	}
	return v
}

// Each mode with real processes: answered where it says, and what stays on the device moves no byte on
// the link.
func TestModesEndToEnd(t *testing.T) {
	s, err := startStack(t.Context(), stackConfig{rtt: 4 * time.Millisecond, draft: "outrider-demo-draft"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	const n = 40
	target := s.ask(t, "cooperative", n, "").text()
	device := s.ask(t, "only_on_device", n, "").text()
	if target == device {
		t.Fatal("draft and target say the same: this tests nothing")
	}
	for mode, want := range map[string]struct{ where, text string }{
		"only_in_cloud": {"cloud", target}, "prefer_in_cloud": {"cloud", target}, "prefer_on_device": {"device", device},
	} {
		if v := s.ask(t, mode, n, ""); v.Metrics.Outrider.Routing.Where != want.where || v.text() != want.text || v.Metrics.Outrider.Routing.Mode != mode {
			t.Errorf("%s: %+v", mode, v)
		}
	}
	up, down := quiet(s)
	for range 3 {
		if v := s.ask(t, "only_on_device", n, ""); v.text() != device || v.Metrics.Outrider.Exact || v.Metrics.Outrider.Passes > 0 {
			t.Errorf("%+v", v)
		}
	}
	if u, d := s.link.Bytes(); u != up || d != down {
		t.Errorf("%d bytes went up and %d came down for answers of the device alone", u-up, d-down)
	}
	code, out, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "--mode", "only-on-device", "-n", "4", "--json", "Once")
	if code != 0 || !strings.Contains(out, `"where":"device"`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, errs := outrider(t, "", "generate", "--mode", "moon", "Once"); code != exitUsage || !strings.Contains(errs, "only_on_device") {
		t.Errorf("%d %s", code, errs)
	}
}

// quiet waits until the link is, and returns what has passed.
func quiet(s *stack) (up, down int64) {
	for same := 0; same < 5; time.Sleep(50 * time.Millisecond) {
		u, d := s.link.Bytes()
		if same++; u != up || d != down {
			up, down, same = u, d, 0
		}
	}
	return up, down
}

// The device begins, the policy hands over in mid-answer: what was written is shown as pending and then
// judged, the answer is the target's to the letter. A changed policy file is in force a moment later.
func TestEscalationEndToEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const late = "begin: [{rule: try, when: 'true', to: try_device}]\nduring: [{rule: late, when: draft.tokens >= 24, to: cooperative, why: it is time}]\n"
	write(late)
	record := filepath.Join(t.TempDir(), "outcomes.jsonl")
	t.Setenv("OUTRIDER_EDGE_ROUTER_POLICY", file)
	t.Setenv("OUTRIDER_EDGE_ROUTER_RECORD", record)
	s, err := startStack(t.Context(), stackConfig{rtt: 4 * time.Millisecond, draft: "outrider-demo-draft"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	const n = 60
	target := s.ask(t, "only_in_cloud", n, "").text()
	v := s.ask(t, "auto", n, "")
	o := v.Metrics.Outrider
	if r := o.Routing; v.text() != target || !o.Exact || o.Unverified > 0 || r.EscalatedAt != 24 || r.Rule != "late" || r.Reason != "it is time" || r.Where != "cooperative" {
		t.Errorf("%+v; the target says %q", v, target)
	}
	v = s.ask(t, "auto", n, `,"hold":8`) // all but 8 tokens have been given out by then
	if o := v.Metrics.Outrider; o.Exact || o.Unverified != 15 || o.Routing.Shown != 15 {
		t.Errorf("%+v", v)
	}
	trace := s.trace(t, n)
	if first := strings.Index(trace, "text"); first < 0 || strings.Count(trace[:first], "pending") < 2 {
		t.Errorf("the draft's text was not shown as pending first:\n%s", trace)
	}
	t.Log("\n" + trace)
	if b, err := os.ReadFile(record); err != nil || !strings.Contains(string(b), `"agreement"`) || strings.Contains(string(b), "story") {
		t.Errorf("recorded %s %v", b, err)
	}
	write("begin: [{rule: broken, when: nonsense, to: device}]\n")
	time.Sleep(1500 * time.Millisecond)
	if v := s.ask(t, "auto", 4, ""); v.Metrics.Outrider.Routing.Rule != "try" {
		t.Errorf("a broken file was taken: %+v", v)
	}
	write("begin: [{rule: home, when: 'true', to: device}]\n")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if v := s.ask(t, "auto", 4, ""); v.Metrics.Outrider.Routing.Rule == "home" {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the new policy is not in force: %+v", v)
		}
	}
}

// trace streams an answer in mode auto and tells line by line what came.
func (s *stack) trace(t *testing.T, tokens int) string {
	t.Helper()
	_, body := post(t, "http://"+s.edge.http()+"/v1/chat/completions", fmt.Sprintf(
		`{"messages":[{"role":"user","content":"Tell me a story."}],"max_tokens":%d,"temperature":0,"stream":true,"outrider":{"mode":"auto","tokens":true,"pending":true,"progress":true}}`, tokens))
	var b strings.Builder
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data: {")
		var k struct {
			Choices  []struct{ Delta struct{ Content string } }
			Outrider *struct {
				Pending  string
				Tokens   []struct{ Fate string }
				Progress struct {
					At    float64 `json:"at_ms"`
					Where string
				}
			}
		}
		if !ok || json.Unmarshal([]byte("{"+data), &k) != nil || k.Outrider == nil || len(k.Choices) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%7.1f ms  %-11s", k.Outrider.Progress.At, k.Outrider.Progress.Where)
		if text := k.Choices[0].Delta.Content; text != "" {
			fates := map[string]int{}
			for _, x := range k.Outrider.Tokens {
				fates[x.Fate]++
			}
			fmt.Fprintf(&b, "  text %q %v", text, fates)
		}
		if k.Outrider.Pending != "" {
			fmt.Fprintf(&b, "  pending %q", k.Outrider.Pending)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestRouterCommands(t *testing.T) {
	code, text, _ := outrider(t, "", "router", "policy")
	if code != 0 || text != router.DefaultText() {
		t.Errorf("%d %s", code, text)
	}
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := outrider(t, "", "router", "check", file); code != 0 || !strings.Contains(out, "is valid") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if err := os.WriteFile(file, []byte("begin:\n  - {rule: a, when: scor < 1, to: cloud}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := outrider(t, "", "router", "check", file); code != exitUsage || !strings.Contains(errs, "p.yaml:2:") || !strings.Contains(errs, "scor") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, _ := outrider(t, "", "router", "facts"); code != 0 || !strings.Contains(out, "draft.confidence_min") {
		t.Errorf("%d %s", code, out)
	}
}

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// streamedTurn is what one streamed answer of the HTTP API told.
type streamedTurn struct {
	text       string
	tokens     []tokenSeen
	confirmed  int // the most that outrider.verified said
	finish     string
	completion int
	pending    bool // some was shown
	metrics    struct {
		Exact      bool
		Resumes    int
		Unverified int `json:"unverified_tokens"`
		Verified   int `json:"verified_later_tokens"`
		Routing    struct {
			Where string
			Kept  int
		}
	}
}

type tokenSeen struct {
	ID         int
	Text       string
	Unverified bool
}

// ask streams one turn of a conversation; at each token, see hears how many there are and whether something
// unverified was shown.
func ask(t *testing.T, ctx context.Context, url string, messages []map[string]string, outrider map[string]any, see func(n int, alone bool)) streamedTurn {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"messages": messages, "stream": true, "max_tokens": 64, "temperature": 0.7, "seed": 3,
		"stream_options": map[string]bool{"include_usage": true}, "outrider": outrider})
	req, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out streamedTurn
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	done := false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		var k struct {
			Choices []struct {
				Delta        struct{ Content string }
				FinishReason string `json:"finish_reason"`
			}
			Outrider struct {
				Tokens   []tokenSeen
				Pending  string
				Verified int
				Progress struct{ Alone bool }
			}
			Usage struct {
				Completion int `json:"completion_tokens"`
			}
			Metrics struct{ Outrider json.RawMessage }
		}
		if err := json.Unmarshal([]byte(data), &k); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		for _, c := range k.Choices {
			out.text += c.Delta.Content
			out.finish += c.FinishReason
		}
		out.tokens = append(out.tokens, k.Outrider.Tokens...)
		out.confirmed = max(out.confirmed, k.Outrider.Verified)
		out.pending = out.pending || k.Outrider.Pending != ""
		out.completion = max(out.completion, k.Usage.Completion)
		if len(k.Metrics.Outrider) > 0 {
			if err := json.Unmarshal(k.Metrics.Outrider, &out.metrics); err != nil {
				t.Fatal(err)
			}
		}
		see(len(out.tokens), k.Outrider.Progress.Alone)
	}
	if resp.StatusCode != 200 || !done || lines.Err() != nil {
		t.Fatalf("the stream broke off: %d %v after %q", resp.StatusCode, lines.Err(), out.text)
	}
	return out
}

// sound checks what holds of every answer: nothing lost or doubled, every token accounted for.
func (a streamedTurn) sound(t *testing.T) {
	t.Helper()
	text, marked := "", 0
	for _, k := range a.tokens {
		text += k.Text
		if k.Unverified {
			marked++
		}
	}
	if len(a.tokens) != a.completion || a.completion == 0 || !strings.HasPrefix(a.text, text) && !strings.HasPrefix(text, a.text) {
		t.Errorf("%d tokens that say %q, %d completion tokens, the text is %q", len(a.tokens), text, a.completion, a.text)
	}
	if m := a.metrics; marked != m.Unverified+m.Verified || m.Exact != (m.Unverified == 0) || m.Verified > 0 != (a.confirmed > 0) {
		t.Errorf("%d tokens were marked unverified, confirmed up to %d: %+v", marked, a.confirmed, m)
	}
}

// outages is a conversation whose cloud is killed in each turn and brought back.
type outages struct {
	s        *stack
	t        *testing.T
	ctx      context.Context
	url      string
	outrider map[string]any
	harm     bool
	alone    bool // the cloud comes back only once the draft went on alone
	perTurn  int  // outages
	kills    int
}

var questions = []string{"Tell me a story about a fox.", "What did the fox do next?", "And then?", "Who helped the fox?", "How did it end?"}

func (o *outages) converse(turns int) []streamedTurn {
	o.t.Helper()
	var messages []map[string]string
	var all []streamedTurn
	for i := range turns {
		messages = append(messages, map[string]string{"role": "user", "content": questions[i]})
		next, dead, killed := 4, false, 0
		back := make(chan error, 1)
		revive := func() {
			dead = false
			go func() { back <- o.s.restartCloud(o.ctx) }()
		}
		a := ask(o.t, o.ctx, o.url, messages, o.outrider, func(n int, alone bool) {
			if o.harm && killed == o.kills-len(all)*o.perTurn && killed < o.perTurn && n >= next && !dead {
				if killed > 0 {
					select { // the last one's return
					case err := <-back:
						if err != nil {
							o.t.Error(err)
						}
					default:
						return
					}
				}
				o.s.cloud.kill()
				o.kills, killed, dead, next = o.kills+1, killed+1, true, n+10
				if !o.alone {
					revive()
				}
			}
			if dead && alone {
				revive()
			}
		})
		if dead {
			revive()
		}
		if killed > 0 {
			if err := <-back; err != nil {
				o.t.Fatal(err)
			}
		}
		a.sound(o.t)
		all = append(all, a)
		messages = append(messages, map[string]string{"role": "assistant", "content": a.text})
	}
	return all
}

// TestOutages kills the cloud (kill -9) again and again in one conversation over the HTTP API and brings it
// back: nothing is lost or doubled.
func TestOutages(t *testing.T) {
	turns, perTurn := 2, 1
	if slow {
		turns, perTurn = 5, 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	config := filepath.Join(t.TempDir(), "outrider.yaml")
	if err := os.WriteFile(config, []byte("edge: {fallback_after: 100ms}\nmodels: {slow: {model: outrider-demo-draft, pace: 80ms}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startStack(ctx, stackConfig{draft: "slow", rtt: 4 * time.Millisecond, cloudArgs: []string{"--pace", "15ms+0.1ms"},
		edgeArgs: []string{"--config", config}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	run := func(t *testing.T, outrider map[string]any, harm bool) ([]streamedTurn, int) {
		o := &outages{s: s, t: t, ctx: ctx, url: "http://" + s.edge.http() + "/v1/chat/completions", outrider: outrider, harm: harm,
			alone: outrider["fallback"] == "draft", perTurn: perTurn}
		return o.converse(turns), o.kills
	}
	options := func(fallback string, pending bool) map[string]any {
		return map[string]any{"fallback": fallback, "tokens": true, "progress": true, "pending": pending, "ignore_end": true}
	}
	calm, _ := run(t, options("wait", false), false)
	for _, c := range []struct {
		name, fallback string
		pending, same  bool
	}{{"wait", "wait", false, true}, {"draft, pending text shown", "draft", true, true}, {"draft", "draft", false, false}} {
		if c.pending && !slow { // package edge's tests have it
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			got, kills := run(t, options(c.fallback, c.pending), true)
			resumes, unverified, verified, kept := 0, 0, 0, 0
			for i, a := range got {
				m := a.metrics
				resumes, unverified, verified, kept = resumes+m.Resumes, unverified+m.Unverified, verified+m.Verified, kept+m.Routing.Kept
				if c.same && (a.text != calm[i].text || !m.Exact) {
					t.Errorf("turn %d says %q, undisturbed it says %q; %+v", i+1, a.text, calm[i].text, m)
				}
			}
			if kills != turns*perTurn || c.fallback == "wait" && (resumes < kills || unverified+verified > 0) || !c.same && unverified+verified == 0 {
				t.Errorf("%d kills, %d resumes, %d unverified, %d verified later", kills, resumes, unverified, verified)
			}
			t.Logf("| %s | %d kills in %d turns | %d resumes | unverified %d, verified later %d, kept %d | %.1f s |", c.name, kills, turns, resumes, unverified, verified,
				kept, time.Since(begin).Seconds())
		})
	}
}

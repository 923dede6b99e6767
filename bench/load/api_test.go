package load_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/load"
)

// script is an API that answers the n-th request as told.
func script(t *testing.T, answer func(n int64, say func(string)) (status int)) string {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		code := answer(n.Add(1), func(text string) {
			_, _ = fmt.Fprint(w, text)
			_ = http.NewResponseController(w).Flush()
		})
		if code != 0 {
			http.Error(w, `{"error":{"message":"no"}}`, code)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const (
	token = `data: {"choices":[{"finish_reason":null}],"outrider":{"tokens":[{"id":7,"text":"a"}]}}` + "\n\n"
	end   = `data: {"choices":[{"finish_reason":"length"}]}` + "\n\ndata: [DONE]\n\n"
)

// Each way to fail is told from the others; the first request is not part of the run.
func TestAPIReport(t *testing.T) {
	whole := strings.Repeat(token, 4) + end
	for name, c := range map[string]struct {
		answer          func(say func(string)) int
		failed, starved int
		says            string
	}{
		"well":      {func(say func(string)) int { say(whole); return 0 }, 0, 0, ""},
		"comments":  {func(say func(string)) int { say(": still at work\n\n" + whole); return 0 }, 0, 0, ""},
		"refused":   {func(func(string)) int { return 503 }, 3, 0, "503"},
		"too short": {func(say func(string)) int { say(token + end); return 0 }, 3, 0, "got 1 tokens"},
		"cut":       {func(say func(string)) int { say(token + token); return 0 }, 3, 0, "without [DONE]"},
		"error":     {func(say func(string)) int { say(token + `data: {"error":{"message":"oh"}}` + "\n\n"); return 0 }, 3, 0, "oh"},
		"no JSON":   {func(say func(string)) int { say("data: {\n\n"); return 0 }, 3, 0, "no JSON"},
		"starving": {func(say func(string)) int {
			say(token + token + token)
			time.Sleep(1200 * time.Millisecond)
			say(token + end)
			return 0
		}, 0, 3, "waited longer"},
	} {
		url := script(t, func(n int64, say func(string)) int {
			if n == 1 {
				say(whole)
				return 0
			}
			return c.answer(say)
		})
		r, err := load.RunAPI(t.Context(), load.APIConfig{URL: url, Clients: 3, Tokens: 4, Starve: time.Second, Ramp: time.Millisecond})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = r.Check()
		if r.Failed != c.failed || r.Starved != c.starved || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// A slow reader takes its time, one that vanishes is no failure.
func TestSlowAndVanishing(t *testing.T) {
	url := script(t, func(_ int64, say func(string)) int {
		for range 8 {
			say(token)
		}
		say(end)
		return 0
	})
	r, err := load.RunAPI(t.Context(), load.APIConfig{URL: url, Clients: 2, Slow: 2, Vanish: 2, Tokens: 8, SlowBytes: 1000, Ramp: time.Millisecond})
	if err != nil || r.Check() != nil {
		t.Fatal(err, r.Check())
	}
	if r.Vanished != 2 || r.Slow != 2 || r.SlowMsPerToken < 30 || r.WallSeconds < 0.5 {
		t.Errorf("%+v", r)
	}
}

func TestAPIUnreachable(t *testing.T) {
	for _, c := range []load.APIConfig{{}, {URL: "http://127.0.0.1:1"}, {URL: "x", Slow: -1}} {
		if _, err := load.RunAPI(t.Context(), c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

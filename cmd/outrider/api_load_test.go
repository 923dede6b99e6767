package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// Streams of many clients through real edge and cloud processes: all complete, none starved, slow and
// vanished clients are nobody else's trouble, nothing is left over. make verify runs 500.
func TestAPILoad(t *testing.T) {
	clients, args := 20, []string{"--clients", "20", "--slow", "3", "--vanish", "5", "--tokens", "32", "--step", "5ms", "--ramp", "100ms", "--starve", "30s"}
	if verifying() {
		clients, args = 500, []string{"--clients", "500", "--slow", "50", "--vanish", "100", "--slow-bytes", "4000", "--settle", "30s"}
	}
	code, out, errs := outrider(t, "", append([]string{"bench", "api", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	t.Log(out)
	var r struct {
		Clients, Slow, Vanished, Failed, Starved, Tokens int
		MsPerToken                                       struct{ P50, P99, Max float64 } `json:"ms_per_token"`
		Slowest                                          struct {
			MsPerToken float64 `json:"ms_per_token"`
		}
		Processes map[string]struct {
			CPU        float64 `json:"cpu_s"`
			Goroutines struct{ Before, Peak, After float64 }
		}
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatal(err)
	}
	if r.Clients != clients || r.Failed+r.Starved > 0 || r.Vanished == 0 || r.Tokens < (r.Clients+r.Slow)*32 || r.MsPerToken.P50 <= 0 ||
		r.Slowest.MsPerToken != r.MsPerToken.Max {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"edge", "cloud"} {
		p := r.Processes[name]
		if p.CPU <= 0 || p.Goroutines.Peak < p.Goroutines.Before+float64(clients) || p.Goroutines.After > p.Goroutines.Before+5 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestAPILoadUsage(t *testing.T) {
	for args, says := range map[string]string{
		"--clients 0":                "at least 1",
		"--admin http://127.0.0.1:1": "--url",
		"--url http://127.0.0.1:1":   "does not answer",
		"--agreement 2":              "between 0 and 1",
		"--slow -1":                  "--slow and --vanish 0",
		"--url http://127.0.0.1:1 --admin http://[::x": "does not answer",
	} {
		code, _, errs := outrider(t, "", append([]string{"bench", "api"}, strings.Fields(args)...)...)
		if code == 0 || !strings.Contains(errs, says) || strings.Count(strings.TrimSpace(errs), "\n") > 0 {
			t.Errorf("%s: exit code %d, %q", args, code, errs)
		}
	}
}

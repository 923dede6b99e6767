package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/edge"
)

// outrider stats asks a running edge, and a file keeps the totals across restarts.
func TestStats(t *testing.T) {
	file := filepath.Join(t.TempDir(), "totals.json")
	t.Setenv("OUTRIDER_EDGE_TOTALS", file)
	t.Setenv("OUTRIDER_PRICES_OUTPUT", "2000000")
	s, err := startStack(t.Context(), stackConfig{draft: "outrider-demo-draft"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	s.ask(t, "only_in_cloud", 10, "")
	s.ask(t, "only_on_device", 10, "")
	code, out, errs := outrider(t, "", "stats", "--edge", s.edge.addr(), "--json")
	var v struct {
		edge.Totals
		Saved float64 `json:"cost_saved"`
	}
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil {
		t.Fatalf("%d %s %s %v", code, out, errs, err)
	}
	if v.Answers != 2 || v.Tokens != 20 || v.Origins.Device != 10 || v.Cost != 20 || v.CostCloudOnly != 40 || v.Saved != 20 || v.Where["device"] != 1 {
		t.Errorf("%s", out)
	}
	code, out, _ = outrider(t, "", "stats", "--edge", s.edge.addr())
	if code != 0 || !strings.Contains(out, "device alone  10 (50 %)") || !strings.Contains(out, "saved 20") {
		t.Errorf("%d\n%s", code, out)
	}
	_, body := getBody(t, "http://"+s.edge.http()+"/outrider/stats")
	if !strings.Contains(body, `"cost_saved":20`) {
		t.Error(body)
	}
	s.edge.stop()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l := edge.NewLedger(nil)
	if err := openLedger(l, file); err != nil || l.Totals().Tokens != 20 {
		t.Errorf("%s: %v", text, err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := outrider(t, "", "edge", "--listen", "127.0.0.1:0", "--admin", ""); code != exitUsage || !strings.Contains(errs, "edge.totals") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := outrider(t, "", "stats", "--edge", "127.0.0.1:1"); code != exitError || !strings.Contains(errs, "no edge answers") {
		t.Errorf("%d %s", code, errs)
	}
}

// getBody reads what a running edge serves.
func getBody(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

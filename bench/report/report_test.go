package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/bench/sweep"
)

// made are records of a sweep over two rules and two links, with given times.
func made(prompts int, ms func(way sweep.Way, rule string, prompt int) float64) (out []sweep.Record) {
	for p := range prompts {
		for _, link := range []string{"rtt=10ms", "rtt=50ms"} {
			add := func(way sweep.Way, rule string) {
				r := sweep.Record{Format: 1, Key: fmt.Sprint(way, rule, p, link), Way: way, Prompt: fmt.Sprint(p), Workload: "w", Task: fmt.Sprint("task ", p%2),
					Tokens: 10, Passes: 5, Scoring: 4, Judged: 8, Accepted: 5, Positions: 14, Fates: "aacabarlca", Output: "x", Exact: true, Load: 0.5,
					RTT: map[string]float64{"rtt=10ms": 10, "rtt=50ms": 50}[link], Settings: map[string]string{"link": link, "temperature": "0"}}
				if rule != "" {
					r.Settings["rule"], r.Settings["drafter"] = rule, "model"
				}
				if rule == "rejection" {
					r.Accepted++
				}
				r.MsPerToken = ms(way, rule, p)
				r.Total = 10 * r.MsPerToken
				out = append(out, r)
			}
			add(sweep.Outrider, "coupled")
			add(sweep.Outrider, "rejection")
			add(sweep.CloudOnly, "")
		}
	}
	return out
}

func find(t *testing.T, s *Summary, what, b, metric string) Comparison {
	t.Helper()
	for _, c := range s.Compared {
		if c.What == what && c.B == b && c.Metric == metric {
			return c
		}
	}
	t.Fatalf("no comparison of %s with %s by %s", what, b, metric)
	return Comparison{}
}

// A difference that is there is shown; one that is noise is called noise.
func TestNoiseIsTold(t *testing.T) {
	s := Summarise(made(20, func(way sweep.Way, rule string, p int) float64 {
		noise := float64((p*7919)%13) - 6 // about even
		switch {
		case way == sweep.CloudOnly:
			return 40
		case rule == "rejection":
			return 20 + noise
		}
		return 20 - noise
	}))
	if c := find(t, s, "way", "outrider", "time per token"); !c.Shown || c.Difference.Mid > -40 {
		t.Errorf("cloud-only and outrider: %+v", c)
	}
	if c := find(t, s, "rule", "rejection", "time per token"); c.Shown {
		t.Errorf("noise: %+v", c)
	}
	if c := find(t, s, "rule", "rejection", "acceptance rate"); !c.Shown || math.Abs(c.Difference.Mid-12.5) > 1e-9 {
		t.Errorf("acceptance: %+v", c)
	}
	if w := strings.Join(s.Warnings, "\n"); !strings.Contains(w, "Noise swamps the difference") || !strings.Contains(w, "rule: coupled and rejection") || strings.Contains(w, "cloud-only and") {
		t.Errorf("warnings: %s", w)
	}
	if len(s.Sides()) != 1 || len(s.Groups) != 6 || s.Groups[0].Way != "outrider" {
		t.Errorf("%d groups, sides %+v", len(s.Groups), s.Sides())
	}
	g := s.Groups[0]
	if g.Acceptance.Mid != 5.0/8 || g.Length.Mid != 9.0/4 || g.Passes.Mid != 0.5 || g.Runs != 20 || g.Ratio.Mid > 0.7 {
		t.Errorf("%+v", g)
	}
}

func TestPageAndTable(t *testing.T) {
	s := Summarise(made(6, func(sweep.Way, string, int) float64 { return 20 }))
	s.all[0].Task = "<script>"
	var page, table, md bytes.Buffer
	if err := s.HTML(&page, "A <report>"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "Acceptance by position", "by task", "against round trip", "Coupled against rejection", "prefers-color-scheme:dark", "A &lt;report&gt;"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "NaN", "Inf", "ZgotmplZ"} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	for _, p := range s.plots() { // well-formed
		d := xml.NewDecoder(strings.NewReader(string(p)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, p)
			}
		}
	}
	if err := s.CSV(&table); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) != 7 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	s.Markdown(&md)
	if !strings.Contains(md.String(), "| coupled | model | 0 | 0.625 |") {
		t.Errorf("%s", md.String())
	}
}

// One record, none that counts, and times of nothing make a report, too.
func TestPoorFiles(t *testing.T) {
	one := made(1, func(sweep.Way, string, int) float64 { return 20 })[:1]
	failed := one[0]
	failed.Failure = "gone"
	bare := sweep.Record{Format: 1, Key: "k", Way: "outrider", Tokens: 1}
	for name, records := range map[string][]sweep.Record{"one": one, "failed": {failed}, "bare": {bare}, "none": nil} {
		s := Summarise(records)
		var b bytes.Buffer
		if err := s.HTML(&b, name); err != nil || strings.Contains(b.String(), "NaN") {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
		if err := s.CSV(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.Markdown(&b)
	}
}

func TestStatistics(t *testing.T) {
	if p := signTest([]float64{1, 1, 1, 1, 1, 1}); math.Abs(p-2.0/64) > 1e-9 {
		t.Errorf("six of six: p = %g", p)
	}
	if p := signTest([]float64{1, -1, 0}); p != 1 {
		t.Errorf("one of two: p = %g", p)
	}
	if v := medianOf([][]float64{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}}); v.Mid != 5 || v.Low >= 5 || v.High <= 5 || v.Low < 1 || v.High > 9 {
		t.Errorf("%+v", v)
	}
	if lo, hi := wilson(50, 100); math.Abs(lo-0.404) > 0.002 || math.Abs(hi-0.596) > 0.002 {
		t.Errorf("50 of 100: %g to %g", lo, hi)
	}
	hits, judged := positions([]sweep.Record{{Fates: "aacarac"}})
	if judged[0] != 3 || hits[0] != 3 || judged[1] != 3-1 || hits[1] != 1 || judged[2] != 1 || hits[2] != 0 {
		t.Errorf("hits %v of %v", hits, judged)
	}
}

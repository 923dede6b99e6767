package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/edge/router"
)

// outcomes writes made-up ones: the surer the draft, the better.
func outcomes(t *testing.T, n int) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	for range n {
		sure := 0.5 + rng.Float64()/2
		line, err := json.Marshal(router.Record{Facts: router.Facts{"draft.confidence": sure, "prompt.tokens": rng.Float64() * 100, "link.up": true},
			Where: "cooperative", Agreement: min(1, max(0, sure*1.6-0.7+rng.NormFloat64()*0.1)), Tokens: 50})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	file := filepath.Join(t.TempDir(), "outcomes.jsonl")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRouterTrain(t *testing.T) {
	file, out := outcomes(t, 300), filepath.Join(t.TempDir(), "score.json")
	code, text, errs := outrider(t, "", "router", "train", file, "--out", out)
	if code != 0 || !strings.Contains(text, "share 0.3: score below") {
		t.Fatalf("%d %s %s", code, text, errs)
	}
	c := RouterConfig{Model: out, Share: 0.3}
	p, m, err := c.load()
	if err != nil {
		t.Fatal(err)
	}
	r := &router.Router{}
	r.Set(p, m, c.Share)
	score := func(sure float64) router.Facts {
		f := router.Facts{"draft.confidence": sure, "prompt.tokens": 50.0}
		r.Score(f, "")
		return f
	}
	low, high := score(0.55), score(0.98)
	if low["score"].(float64) >= low["threshold"].(float64) || high["score"].(float64) <= high["threshold"].(float64) {
		t.Errorf("unsure: %v, sure: %v", low, high)
	}
	code, text, errs = outrider(t, "", "router", "eval", file, "--json")
	var curve router.Curve
	if err := json.Unmarshal([]byte(text), &curve); code != 0 || err != nil || curve.Area < 0.55 || curve.Area > curve.OracleArea {
		t.Errorf("%d %s %s %v", code, text, errs, err)
	}
}

func TestRouterFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, text, want string }{
		{"a.jsonl", "{}\n", "a.jsonl:1: this is no outcome"},
		{"b.jsonl", "\n\nnonsense\n", "b.jsonl:3"},
		{"c.csv", "prompt,a,b\nx,True\n", "c.csv"},
		{"d.csv", "prompt,a,b\nx,True,maybe\n", "d.csv:2"},
		{"e.csv", "prompt,a\nx,True\n", "d three columns"[2:]},
		{"f.csv", "prompt,a,b\nx,True,False\n", "too few examples"},
		{"g.csv", "", "g.csv"},
	} {
		for _, command := range []string{"train", "eval"} {
			code, _, errs := outrider(t, "", "router", command, write(c.name, c.text))
			if code != exitUsage || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("%s %s: %d %q, want %q", command, c.name, code, errs, c.want)
			}
		}
	}
	for _, args := range [][]string{{"router", "eval"}, {"router", "eval", dir}, {"router", "eval", "--folds", "1", "x.csv"}, {"router", "train", filepath.Join(dir, "none.csv")}} {
		if code, _, errs := outrider(t, "", args...); code != exitUsage || errs == "" {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

// The curve on labelled data: better than random on prompts not seen, within its figures; table, CSV and
// drawing say the same.
func TestRouterEvalOnLabelledData(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "routing", "mmlu", "*.csv"))
	if len(files) == 0 {
		t.Skip("needs ../shared/data/routing")
	}
	dir := t.TempDir()
	svg, table := filepath.Join(dir, "c.svg"), filepath.Join(dir, "c.csv")
	code, text, errs := outrider(t, "", append([]string{"router", "eval", "--json", "--svg", svg, "--csv", table}, files...)...)
	var c router.Curve
	if err := json.Unmarshal([]byte(text), &c); code != 0 || err != nil {
		t.Fatalf("%d %s %v", code, errs, err)
	}
	if c.Examples != 5648 || c.Area < 0.56 || c.Area > 0.7 || c.Low > c.Area || c.High < c.Area || c.Half > 0.45 {
		t.Errorf("%+v", c)
	}
	b, err := os.ReadFile(table)
	if err != nil || strings.Count(string(b), "\n") != len(c.Points)+1 || !strings.Contains(string(b), fmt.Sprintf("0.5,%.5f", c.Points[10].Router)) {
		t.Errorf("%v\n%s", err, b)
	}
	f, err := os.Open(svg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := xml.NewDecoder(f); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

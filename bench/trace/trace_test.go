package trace

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

const good = `{"trace":1,"target":"t","draft":"d","temperature":0.7}
{"prompt":"a","outcome":"1102","confidence":[0.9,0.8,0.3,0.5]}
{"outcome":"1","confidence":[1]}
`

func TestRead(t *testing.T) {
	s, err := Read(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	first, second, n := s.Rates()
	if n != 5 || first != 0.6 || second != 0.5 || s.Header.Draft != "d" {
		t.Errorf("%g %g %d %+v", first, second, n, s.Header)
	}
	if l := s.Length(2); math.Abs(l-5.0/3) > 1e-9 { // 110, 2, 1
		t.Errorf("length %g", l)
	}
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Read(&b)
	if err != nil || again.Sessions[0].Outcome != "1102" || again.Sessions[0].Confidence[2] != 0.3 {
		t.Errorf("%+v %v", again, err)
	}
	header := "{\"trace\":1}\n"
	for bad, want := range map[string]string{
		"":                         "no sessions",
		header:                     "no sessions",
		"{\"rtt_ms\":10}\n":        "line 1: no header",
		"{\"trace\":2}\n":          "line 1: no header",
		"text":                     "line 1",
		header + "{":               "line 2",
		header + `{"outcome":"1"}`: "1 outcomes and 0",
		header + `{"outcome":""}`:  "without positions",
		header + `{"outcome":"3","confidence":[1]}`:   "outcomes are",
		header + `{"outcome":"1","confidence":[1.5]}`: "between 0 and 1",
	} {
		if _, err := Read(strings.NewReader(bad)); !errors.Is(err, ErrTrace) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
	if _, err := ReadFile("missing.jsonl"); !errors.Is(err, ErrTrace) {
		t.Errorf("missing: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if first, second, n := s.Rates(); n < 1 || !(first >= 0 && first <= 1) || !(second >= 0 && second <= 1) || !(s.Length(4) >= 1) {
			t.Errorf("%g %g %d", first, second, n)
		}
	})
}

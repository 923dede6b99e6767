package sweep

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for list, want := range map[string][]string{
		"0,0.7, 1":                             {"0", "0.7", "1"},
		"rtt=10ms,rtt=50ms":                    {"rtt=10ms", "rtt=50ms"},
		"rtt=10ms,jitter=2ms,rtt=50ms":         {"rtt=10ms,jitter=2ms", "rtt=50ms"},
		"rtt=10ms,jitter=2ms;jitter=1ms":       {"rtt=10ms,jitter=2ms", "jitter=1ms"},
		"coupled,rejection,lenient":            {"coupled", "rejection", "lenient"},
		"model,model+lookup,lookup+prediction": {"model", "model+lookup", "lookup+prediction"},
	} {
		if got := Split(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

// Baselines have the settings that matter to them only, and stand there once.
func TestVariants(t *testing.T) {
	g := Grid{"link": {"rtt=10ms", "rtt=50ms"}, "temperature": {"0", "0.7"}, "drafter": {"model", "model+lookup"}}
	all, err := g.Variants([]string{"cloud-only", "synchronous=2", "synchronous=8", "co-located"})
	if err != nil {
		t.Fatal(err)
	}
	n := map[Way]int{}
	for _, v := range all {
		n[v.Way]++
		if (v.Setting("drafter") == "") != (v.Way != Outrider) || (v.Setting("link") == "") != (v.Way == Colocated) || v.Sessions != 1 {
			t.Errorf("%s", v.Label())
		}
	}
	if n[Outrider] != 8 || n[CloudOnly] != 4 || n[Synchronous] != 8 || n[Colocated] != 2 {
		t.Errorf("counts %v", n)
	}
	for _, bad := range []struct {
		g Grid
		b []string
	}{{Grid{"colour": {"red"}}, nil}, {Grid{"temperature": {"hot"}}, nil}, {Grid{"temperature": {"-1"}}, nil}, {Grid{"link": {"rtt=soon"}}, nil},
		{Grid{"link": {"wire=2"}}, nil}, {Grid{"drafter": {"oracle"}}, nil}, {Grid{"rule": {"kind"}}, nil}, {Grid{"objective": {"fame"}}, nil}, {Grid{"drafter": {"model+none"}}, nil}, {Grid{"depth": {"1", "1"}}, nil},
		{Grid{"sessions": {"0"}}, nil}, {Grid{}, []string{"magic"}}, {Grid{}, []string{"synchronous=0"}}, {Grid{}, []string{"cloud-only=3"}}} {
		if _, err := bad.g.Variants(bad.b); !errors.Is(err, ErrGrid) {
			t.Errorf("%v %v: %v", bad.g, bad.b, err)
		}
	}
}

func record(key string) Record {
	return Record{Format: Format, Key: key, Way: Outrider, Tokens: 2, Total: 3, Judged: 2, Accepted: 1}
}

// What a killed run left is mended: the torn cell is measured again, the others are not.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := record("c")
	failed.Failure = "the link was cut"
	for _, r := range []Record{record("a"), record("b"), failed} {
		if err := s.Add([]Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	for cut := range len(whole) { // killed at any byte
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(path)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		lines := strings.Count(string(whole[:cut]), "\n")
		if len(s.Done) != min(lines, 2) || s.Torn != (cut > 0 && whole[cut-1] != '\n') {
			t.Fatalf("cut at %d: done %v, torn %t", cut, s.Done, s.Torn)
		}
		if err := errors.Join(s.Add([]Record{record("d")}), s.Close()); err != nil {
			t.Fatal(err)
		}
		got, torn, err := ReadFile(path)
		if err != nil || torn || len(got) != lines+1 || got[lines].Key != "d" {
			t.Fatalf("cut at %d: %d records, torn %t, %v", cut, len(got), torn, err)
		}
	}
}

func TestBadRecords(t *testing.T) {
	good := `{"v":1,"key":"a","way":"outrider"}` + "\n"
	for bad, want := range map[string]string{
		"":                   "no records",
		"\n\n":               "no records",
		good + "{broken\n":   "line 2",
		good + "{\"x\":1}\n": "line 2: not a record",
		`{"v":9,"key":"a","way":"outrider"}` + "\n":                         "newer",
		`{"v":1,"key":"a","way":"outrider","accepted":3,"judged":1}` + "\n": "counts",
		strings.Repeat("x", maxRecord+10):                                   "longer",
	} {
		if _, _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50q: %v, want %q", bad, err, want)
		}
	}
	got, torn, err := Read(strings.NewReader(good + good + `{"v":1,"k`))
	if err != nil || !torn || len(got) != 1 {
		t.Errorf("%+v %t %v", got, torn, err)
	}
	if _, err := OpenStore("x.jsonl.gz"); err == nil {
		t.Error("a compressed file is opened to append")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"v":1,"key":"a","way":"outrider","tokens":3}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		records, _, err := Read(strings.NewReader(text))
		if (err == nil) != (len(records) > 0) {
			t.Errorf("%d records and %v", len(records), err)
		}
	})
}

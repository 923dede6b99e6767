package load_test

import (
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/load"
)

// What grows for good is told from noise, from a saw's teeth and from a warm-up.
func TestTrend(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		of    func(i int) float64
		grows bool
	}{
		"flat":        {func(int) float64 { return 14 }, false},
		"noise":       {func(int) float64 { return 50 + 10*rng.NormFloat64() }, false},
		"teeth":       {func(i int) float64 { return 40 + float64(i%37) }, false},
		"warm-up":     {func(i int) float64 { return 60 - 20/(1+float64(i)/8) }, false},
		"falls":       {func(i int) float64 { return 90 - float64(i)/6 }, false},
		"leak":        {func(i int) float64 { return 40 + float64(i)/18 + 2*rng.NormFloat64() }, true},
		"leaks teeth": {func(i int) float64 { return 40 + float64(i)/18 + float64(i%37) }, true},
		"steps":       {func(i int) float64 { return 40 + 5*float64(i/60) }, true},
	} {
		var hours, v []float64
		for i := range 360 {
			hours, v = append(hours, float64(i)/720), append(v, c.of(i))
		}
		if got := load.TrendOf(hours, v, 5); got.Grows != c.grows {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := load.TrendOf([]float64{1}, []float64{1}, 0); got.Grows {
		t.Error(got)
	}
}

// A token that differs from what was said before, and descriptors that are not given back, are found.
func TestSoakFinds(t *testing.T) {
	const other = `data: {"choices":[{"finish_reason":null}],"outrider":{"tokens":[{"id":8,"text":"b"}]}}` + "\n\n"
	whole := strings.Repeat(token, 4) + end
	config := func(url string) load.SoakConfig {
		return load.SoakConfig{URL: url, For: 400 * time.Millisecond, Pause: time.Millisecond, Every: 10 * time.Millisecond, HarmEvery: 50 * time.Millisecond, Tokens: 4,
			Processes: []load.Watched{{Name: "this one", PID: os.Getpid}}}
	}
	var wrong atomic.Bool
	url := script(t, func(_ int64, say func(string)) int {
		if wrong.Load() {
			say(strings.Repeat(token, 3) + other + end)
		} else {
			say(whole)
		}
		return 0
	})
	r, err := load.RunSoak(t.Context(), config(url))
	if err != nil || len(r.Wrong) > 0 || r.Harms == 0 || r.Tokens == 0 || len(r.Samples) < 5 || len(r.Asked) == 0 {
		t.Errorf("%v %v", err, r.String())
	}
	c := config(url)
	c.Harm = func(int) { wrong.Store(true) }
	if r, err = load.RunSoak(t.Context(), c); err != nil || r.Check() == nil || !strings.Contains(r.Check().Error(), "undisturbed it was") || r.Wrong["chat"] == 0 {
		t.Errorf("%v %v", err, r.String())
	}
	wrong.Store(false)
	c = config(url)
	var held []*os.File
	c.Every, c.HarmEvery = 4*time.Millisecond, 4*time.Millisecond
	c.Harm = func(int) {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Error(err)
		}
		held = append(held, f)
	}
	if r, err = load.RunSoak(t.Context(), c); err != nil || !r.Trends["this one: descriptors"].Grows || !strings.Contains(r.String(), "GROWS") {
		t.Errorf("%v %v", err, r.String())
	}
	for _, f := range held {
		_ = f.Close()
	}
	if _, err := load.RunSoak(t.Context(), load.SoakConfig{}); err == nil {
		t.Error("no URL is no error")
	}
}

package sidechannel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/shape"
)

// The classifiers tell what can be told, and guess at what cannot.
func TestClassifiers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var told, noise []sample
	var group []int
	for i := range 120 {
		x := make([]float64, 12)
		for j := range x {
			x[j] = rng.NormFloat64()
		}
		noise = append(noise, sample{x, i % 4})
		y := append([]float64(nil), x...)
		y[5] += 6 * float64(i%4)
		told, group = append(told, sample{y, i % 4}), append(group, i/4%5)
	}
	if a := crossValidate(told, group, 5); a.Forest < 0.9 || a.Neighbours < 0.5 {
		t.Errorf("what differs is told with %+v", a)
	}
	if a := crossValidate(noise, group, 5); a.Best() > 0.45 {
		t.Errorf("what does not differ is told with %+v", a)
	}
}

func TestFeatures(t *testing.T) {
	p := []Packet{{0, false, 100}, {5 * time.Millisecond, true, 50}, {2 * time.Second, true, 5000}}
	whole, early := features(p, 0), features(p, time.Second)
	if len(whole) != len(early)+2 || whole[0] != 1 || whole[1] != 100 || early[0] != 1 {
		t.Errorf("%d and %d features: %v", len(whole), len(early), whole[:6])
	}
	half := len(early) / 2
	if early[half] != 1 || early[half+1] != 50 || whole[len(whole)/2] != 2 {
		t.Error("the packets down are not counted right")
	}
}

// Answers are the same in every shape, and with a cadence all of a session's packets on the way up have one length.
func TestRun(t *testing.T) {
	c := demo(t)
	c.Prompts = []Prompt{{"Once upon a time", "a"}, {"The little bird wanted to fly, but", "b"}}
	c.Repeats, c.Tokens, c.Parallel, c.Early = 2, 12, 2, time.Second
	c.Shapes = []shape.Shape{{}, {Sizes: []int{64, 128, 256}}, {Sizes: []int{128}, Every: 5 * time.Millisecond}}
	all, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if !r.Same || r.Sessions != 4 || r.Chance != 0.5 || !(r.Up > 0 && r.Down > 0 && r.Ms > 0) {
			t.Errorf("%+v", r)
		}
	}
	if all[2].Up < all[0].Up {
		t.Errorf("a cadence costs %f bytes up a token, none %f", all[2].Up, all[0].Up)
	}
}

// With a cadence prompts are told apart far worse than without; guessing right is 17 %.
func TestCadenceHidesPrompts(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("slow: set OUTRIDER_VERIFY=1")
	}
	c := demo(t)
	c.Target = backend.Paced(c.Target, 10*time.Millisecond, 0)
	for i, text := range workload.Stories(6) {
		c.Prompts = append(c.Prompts, Prompt{Text: text, Task: fmt.Sprint(i)})
	}
	c.Repeats, c.Tokens, c.Parallel, c.Early, c.Temperature = 10, 64, 6, 500*time.Millisecond, 0.3
	c.Shapes = []shape.Shape{{}, {Sizes: []int{128}, Every: 20 * time.Millisecond}}
	all, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", all)
	if off, on := all[0].Whole.Best(), all[1].Whole.Best(); on > off-0.1 {
		t.Errorf("%.0f %% are told without a cadence, %.0f %% with", 100*off, 100*on)
	}
}

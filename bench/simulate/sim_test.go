package simulate

import (
	"context"
	"errors"
	"github.com/outrider-llm/outrider/bench/link"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// standard is the pair that docs/benchmarks.md speaks of.
func standard(rtt time.Duration) Config {
	return Config{Seed: 1, Strategy: Cooperative, Sessions: 100, Spread: 2400 * time.Hour, Prompt: 16, Tokens: 400, Branches: true,
		Link: link.Config{RTT: rtt},
		Model: Model{Target: speculative.Cost{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond}, Draft: 4 * time.Millisecond,
			Agreement: 0.8, Spread: 1.5, Second: 0.5, Confidence: Calibrated}}
}

// figures of a run; ratio is that of its time to cloud-only streaming's.
type figures struct {
	took                                      time.Duration
	ratio, passes, positions, drafted, uplink float64
}

// sum runs sessions and adds up what they took, per token but for the time.
func sum(t *testing.T, c Config) (f figures) {
	t.Helper()
	o, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, s := range o.Sessions {
		f.took += s.Done - s.Begun
		n += float64(s.Tokens)
		f.passes += float64(s.Usage.Passes)
		f.positions += float64(s.Usage.Positions)
		f.drafted += float64(s.Drafted)
		f.uplink += float64(s.Uplink)
	}
	for _, v := range []*float64{&f.passes, &f.positions, &f.drafted, &f.uplink} {
		*v /= n
	}
	return f
}

// measure is sum with the ratio to cloud-only streaming over the same link.
func measure(t *testing.T, c Config) figures {
	t.Helper()
	f := sum(t, c)
	c.Strategy = CloudOnly
	f.ratio = f.took.Seconds() / sum(t, c).took.Seconds()
	return f
}

// What the project promises (docs/benchmarks.md), with the order of the strategies.
func TestRatios(t *testing.T) {
	for ms, most := range map[int]float64{10: 0.37, 50: 0.48, 100: 0.60, 200: 0.77} {
		c := standard(time.Duration(ms) * time.Millisecond)
		got := map[Strategy]figures{}
		for _, s := range []Strategy{Cooperative, Pipelined, Synchronous, Colocated, Oracle} {
			c.Strategy = s
			got[s] = measure(t, c)
			t.Logf("RTT %3d ms, %-11s: %.3f of cloud-only, %.2f passes and %.1f bytes a token", ms, s, got[s].ratio, got[s].passes, got[s].uplink)
		}
		f := got[Cooperative]
		if f.ratio > most || f.uplink > 30 {
			t.Errorf("RTT %d ms: %.3f of cloud-only with %.1f bytes a token, at most %.2f and 30 are promised", ms, f.ratio, f.uplink, most)
		}
		if f.ratio < got[Oracle].ratio || f.ratio > got[Pipelined].ratio || f.ratio > got[Synchronous].ratio {
			t.Errorf("RTT %d ms: the order of the strategies is wrong: %+v", ms, got)
		}
	}
}

// Sessions share the target, all finish, and the same seed gives the same run.
func TestManySessions(t *testing.T) {
	c := standard(50 * time.Millisecond)
	c.Sessions, c.Tokens, c.Spread = 200, 40, time.Second
	a, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Run(context.Background(), c)
	for i, s := range a.Sessions {
		if s.Tokens != c.Tokens || s.Done == 0 {
			t.Fatalf("session %d has %d of %d tokens", i, s.Tokens, c.Tokens)
		}
		if s != b.Sessions[i] {
			t.Fatalf("session %d went %+v, then %+v", i, s, b.Sessions[i])
		}
	}
	if a.Busy > a.End || a.Steps == 0 {
		t.Errorf("the target stepped for %v of %v", a.Busy, a.End)
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no cost":    func(c *Config) { c.Model.Target = speculative.Cost{} },
		"agreement":  func(c *Config) { c.Model.Agreement = 1.5 },
		"negative":   func(c *Config) { c.Link.RTT = -1 },
		"confidence": func(c *Config) { c.Model.Confidence = "loud" },
		"endless":    func(c *Config) { c.Tokens = 0 },
		"no one":     func(c *Config) { c.Sessions = 0 },
		"arrival":    func(c *Config) { c.Arrivals = []Arrival{{At: -1, Prompt: 1, Tokens: 1}} },
	} {
		c := standard(0)
		change(&c)
		if _, err := Run(context.Background(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v, want %v", name, err, ErrConfig)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, standard(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// With run-ahead deferred the target makes at most 0.30 passes a token, and balanced keeps most of
// that where round trips are short and stays close to the fastest setting where they are long.
func TestFewPasses(t *testing.T) {
	for _, rtt := range []time.Duration{10, 20, 50, 100, 150, 200} {
		c := standard(rtt * time.Millisecond)
		c.Sessions = 20
		fastest := measure(t, c)
		c.RunAhead = deferred
		bounded := measure(t, c)
		c.RunAhead, c.Objective = 0, speculative.ObjectiveBalanced
		balanced := measure(t, c)
		t.Logf("RTT %3d ms: fastest %.3f of cloud-only, %.3f passes; deferred %.3f, %.3f; balanced %.3f, %.3f",
			rtt, fastest.ratio, fastest.passes, bounded.ratio, bounded.passes, balanced.ratio, balanced.passes)
		if bounded.passes > 0.30 || bounded.ratio > 1.15 {
			t.Errorf("RTT %d ms, deferred: %.3f passes a token, %.3f of cloud-only", rtt, bounded.passes, bounded.ratio)
		}
		if balanced.ratio > 1.1*fastest.ratio || balanced.passes > fastest.passes {
			t.Errorf("RTT %d ms, balanced: %+v, the fastest setting %+v", rtt, balanced, fastest)
		}
	}
}

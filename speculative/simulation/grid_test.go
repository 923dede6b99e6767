package simulation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// bench is one session on a quiet link: a target of 40 ms a step and 0.3 ms a row, a draft of 4 ms a token.
func bench(agree float64, rtt time.Duration) Config {
	return Config{
		Seed: 1, World: World{Seed: 11, Vocabulary: 1000, Agree: agree, Cover: 0.5}, Prompt: 8, Length: 300,
		Edge: speculative.ProposerConfig{}, DraftStep: 4 * time.Millisecond,
		Limits: speculative.Limits{Positions: 256, Prefill: 64},
		Cost:   speculative.Cost{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond},
		Up:     rtt / 2, Down: rtt / 2,
	}
}

// grid runs one session for every agreement and round trip and returns the times as a fraction of
// cloud-only streaming.
func grid(t *testing.T, branches bool, agreements ...int) map[[2]int]float64 {
	t.Helper()
	rtts := []int{2, 10, 50, 100, 200, 400}
	out := map[[2]int]float64{}
	var table strings.Builder
	fmt.Fprintf(&table, "agreement \\ RTT %v ms", rtts)
	for _, agree := range agreements {
		fmt.Fprintf(&table, "\n%3d %%", agree)
		for _, rtt := range rtts {
			c := bench(float64(agree)/100, time.Duration(rtt)*time.Millisecond)
			c.Edge.Branches = branches
			r := Run(c, false)
			ratio := i6NotSlower(c, &r)
			if r.Violation != nil {
				t.Errorf("agreement %d %%, RTT %d ms: %s (ratio %.3f)", agree, rtt, r.Violation, ratio)
			}
			out[[2]int{agree, rtt}] = ratio
			fmt.Fprintf(&table, "  %.3f", ratio)
		}
	}
	t.Logf("branches %t: time as a fraction of cloud-only streaming\n%s", branches, table.String())
	return out
}

// TestNeverSlower is I6 over a grid, with the gains that must not be lost.
func TestNeverSlower(t *testing.T) {
	plain, branched := grid(t, false, 0, 5, 20, 40, 60, 80, 95, 100), grid(t, true, 0, 40, 80)
	for at, most := range map[[2]int]float64{{80, 10}: 0.48, {80, 50}: 0.62, {80, 100}: 0.75, {95, 50}: 0.36, {100, 200}: 0.40} {
		if plain[at] > most {
			t.Errorf("agreement %d %%, RTT %d ms: %.3f of cloud-only, it was at most %.2f", at[0], at[1], plain[at], most)
		}
	}
	if a, b := branched[[2]int{80, 50}], plain[[2]int{80, 50}]; a > b {
		t.Errorf("branches make it slower: %.3f, without them %.3f", a, b)
	}
}

// TestUselessDraft: with a draft that is never right drafting stops, and neither time nor the
// target's work grows by more than 2 %.
func TestUselessDraft(t *testing.T) {
	for _, rtt := range []time.Duration{2, 40, 200} {
		c := bench(0, rtt*time.Millisecond)
		c.Length = 600
		r, alone := Run(c, false), Run(c.CloudOnly(), false)
		if r.Violation != nil {
			t.Fatal(r.Violation)
		}
		x := r.Sessions[0]
		slower, dearer := float64(x.Done)/float64(alone.Sessions[0].Done), float64(r.Busy)/float64(alone.Busy)
		t.Logf("RTT %v: time x %.4f, target's time x %.4f, %d drafted, %d sent for %d tokens",
			rtt*time.Millisecond, slower, dearer, x.Edge.Drafted, x.Edge.Sent, x.Tokens)
		if slower > 1.02 || dearer > 1.02 {
			t.Errorf("RTT %v: time x %.4f, target's time x %.4f", rtt*time.Millisecond, slower, dearer)
		}
		if x.Edge.Drafted > x.Tokens/2 {
			t.Errorf("RTT %v: %d tokens drafted in vain for %d", rtt*time.Millisecond, x.Edge.Drafted, x.Tokens)
		}
	}
}

// TestPasses: what the demo promises at an agreement of 0.75 and 40 ms of round trip, and how much
// less work the target has with run-ahead held back.
func TestPasses(t *testing.T) {
	for _, x := range []struct {
		passes              float64 // max_passes_per_token
		slowest, mostPasses float64
	}{{1, 0.7, 0.7}, {0.5, 0.9, 0.55}, {0.01, 1, 0.45}} {
		c := bench(0.75, 40*time.Millisecond)
		c.Cloud.MaxPassesPerToken = x.passes
		r := Run(c, false)
		if r.Violation != nil {
			t.Fatal(r.Violation)
		}
		alone := Run(bench(0.75, 40*time.Millisecond).CloudOnly(), false)
		s := r.Sessions[0]
		slower, passes := float64(s.Done)/float64(alone.Sessions[0].Done), float64(s.Usage.Passes)/float64(s.Tokens)
		t.Logf("at most %.2f passes a token: time x %.3f, %.3f passes a token, %.1f nodes sent a token",
			x.passes, slower, passes, float64(s.Edge.Sent)/float64(s.Tokens))
		if slower > x.slowest || passes > x.mostPasses {
			t.Errorf("at most %.2f passes a token: time x %.3f, %.3f passes a token", x.passes, slower, passes)
		}
	}
}

// TestManySessions saturates a target whose sequences cost more than its rows: nobody starves, and
// drafts do not cost throughput.
func TestManySessions(t *testing.T) {
	c := bench(0.8, 40*time.Millisecond)
	c.Sessions, c.Length, c.Spread, c.FairWait = 60, 60, 500*time.Millisecond, 300*time.Millisecond
	c.Limits = speculative.Limits{Positions: 64, Sequences: 24, Prefill: 16}
	c.Cost = speculative.Cost{Step: 10 * time.Millisecond, Sequence: time.Millisecond, Position: 100 * time.Microsecond}
	last := func(r Result) (d speculative.Time) {
		if r.Violation != nil {
			t.Fatal(r.Violation.String())
		}
		for _, s := range r.Sessions {
			d = max(d, s.Done)
		}
		return d
	}
	drafted, alone := last(Run(c, false)), last(Run(c.CloudOnly(), false))
	t.Logf("60 sessions of 60 tokens: %v with drafts, %v without", drafted, alone)
	if drafted > alone*7/10 {
		t.Errorf("60 sessions take %v with drafts, %v without", drafted, alone)
	}
}

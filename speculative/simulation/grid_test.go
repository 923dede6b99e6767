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

package simulation

import (
	"flag"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var (
	seeds = flag.Int("sim.seeds", 3000, "seeds to run")
	first = flag.Uint64("sim.first", 1, "first seed")
)

// TestSeeds runs chaos and checks I1 to I12. A seed that fails prints its number, the invariant and
// the last events; run it again with -sim.first N -sim.seeds 1.
func TestSeeds(t *testing.T) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var seen Seen
	next, failed, compared, worst := *first, 0, 0, 0.0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				stop := seed >= *first+uint64(*seeds) || failed >= 3
				mu.Unlock()
				if stop {
					return
				}
				c := Chaos(seed)
				r := Run(c, false)
				ratio := i6NotSlower(c, &r)
				mu.Lock()
				if seen.add(r.Seen); ratio > 0 {
					compared++
					worst = max(worst, ratio)
				}
				if r.Violation != nil {
					failed++
					t.Errorf("seed %d: %s\n%s\n%+v", seed, r.Violation, strings.Join(Run(c, true).Trace, "\n"), c)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds, %d compared with cloud-only, worst ratio %.3f", *seeds, compared, worst)
	t.Logf("seen: %+v", seen)
	if *seeds < 1000 || failed > 0 {
		return
	}
	v := reflect.ValueOf(seen)
	for i := range v.NumField() {
		if v.Field(i).Int() == 0 && v.Type().Field(i).Name != "Lenient" {
			t.Errorf("no run went through %s", v.Type().Field(i).Name)
		}
	}
}

func (s *Seen) add(o Seen) {
	a, b := reflect.ValueOf(s).Elem(), reflect.ValueOf(o)
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}

// TestRules runs the same chaos with a target whose choices depend on what is proposed, as they do under
// rejection and lenient: all invariants hold, with I1 as i1OneLog says.
func TestRules(t *testing.T) {
	var seen Seen
	for seed := *first; seed < *first+uint64(*seeds)/4; seed++ {
		c := Chaos(seed)
		c.World.Lenient = []float64{0.1, 0.5, 1}[seed%3]
		r := Run(c, false)
		seen.add(r.Seen)
		if r.Violation != nil {
			t.Fatalf("seed %d: %s\n%s\n%+v", seed, r.Violation, strings.Join(Run(c, true).Trace, "\n"), c)
		}
	}
	t.Logf("seen: %+v", seen)
	if seen.Lenient == 0 || seen.Resumes == 0 || seen.Late == 0 {
		t.Errorf("seen: %+v", seen)
	}
}

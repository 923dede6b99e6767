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
		if v.Field(i).Int() == 0 {
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

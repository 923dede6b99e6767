package reach

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func first(int) int { return 0 }

// told are replicas that have reported at time 1, the first of them in use.
func told(reports ...Report) *Replicas {
	r := &Replicas{}
	var names []string
	for i := range reports {
		names = append(names, fmt.Sprint("r", i))
	}
	r.Set(names)
	for i, x := range reports {
		r.Tell(names[i], x, 1)
	}
	r.Use("r0", 1)
	return r
}

func TestScores(t *testing.T) {
	for name, c := range map[string]struct {
		zone  string
		list  []Report
		order string // the best first
	}{
		"load":             {"", []Report{{Queue: 30 * ms, Step: 40 * ms}, {Step: 40 * ms}}, "r1 r0"},
		"ms per token":     {"", []Report{{Step: 60 * ms}, {Step: 40 * ms}}, "r1 r0"},
		"how full":         {"", []Report{{Step: 40 * ms, Sessions: 90, Places: 100}, {Step: 40 * ms, Sessions: 10, Places: 100}}, "r1 r0"},
		"distance":         {"", []Report{{Step: 40 * ms, RTT: 120 * ms}, {Step: 40 * ms, RTT: 10 * ms}}, "r1 r0"},
		"near but crowded": {"", []Report{{Step: 40 * ms, Queue: 80 * ms, RTT: 5 * ms}, {Step: 40 * ms, RTT: 60 * ms}}, "r1 r0"},
		"own zone first":   {"eu", []Report{{Step: 40 * ms, Zone: "us"}, {Step: 60 * ms, Zone: "eu"}}, "r1 r0"},
		"unless far worse": {"eu", []Report{{Step: 40 * ms, Zone: "us"}, {Step: 40 * ms, Queue: 60 * ms, Zone: "eu"}}, "r0 r1"},
	} {
		r := told(c.list...)
		r.Zone = c.zone
		all := r.All()
		slices.SortFunc(all, func(a, b Replica) int { return int(a.score(c.zone) - b.score(c.zone)) })
		if got := all[0].Address + " " + all[1].Address; got != c.order {
			t.Errorf("%s: %s, want %s", name, got, c.order)
		}
	}
}

// An edge leaves a replica that serves it only for one that was better by far, twice, and after a minute.
func TestHysteresis(t *testing.T) {
	r := told(Report{Step: 60 * ms}, Report{Step: 50 * ms}, Report{Step: 30 * ms})
	r.Tell("r2", Report{Step: 50 * ms}, 2)
	for i := range 10 {
		if to, move := r.Decide(time.Duration(2+i) * time.Minute); move {
			t.Fatalf("moved to %s for a sixth", to)
		}
	}
	r.Tell("r2", Report{Step: 30 * ms}, 3)
	if _, move := r.Decide(20 * time.Minute); move {
		t.Error("moved after one survey")
	}
	if to, move := r.Decide(21 * time.Minute); !move || to != "r2" {
		t.Errorf("did not move to what is twice as good: %s, %v", to, move)
	}
	r.Use("r2", 21*time.Minute)
	r.Tell("r1", Report{Step: 5 * ms}, 3)
	for now := 21*time.Minute + time.Second; now < 22*time.Minute; now += 10 * time.Second {
		if _, move := r.Decide(now); move {
			t.Fatal("moved again within a minute")
		}
	}
	if to, move := r.Decide(22*time.Minute + time.Second); !move || to != "r1" {
		t.Errorf("did not move after a minute: %s", to)
	}
	r.Tell("r1", Report{Step: 29500 * time.Microsecond}, 4) // an interruption begins the count anew
	r.Decide(23 * time.Minute)
	r.Tell("r1", Report{Step: 5 * ms}, 4)
	if _, move := r.Decide(24 * time.Minute); move {
		t.Error("moved though it was not better twice in a row")
	}
	tiny := told(Report{Step: 600 * time.Microsecond}, Report{Step: 10 * time.Microsecond})
	tiny.Decide(2 * time.Minute)
	if _, move := tiny.Decide(3 * time.Minute); move {
		t.Error("moved for half a millisecond")
	}
}

// What takes no sessions, has failed or is gone is left at once.
func TestLeaving(t *testing.T) {
	for name, spoil := range map[string]func(*Replicas){
		"draining": func(r *Replicas) { r.Tell("r0", Report{Draining: true}, 2) },
		"full":     func(r *Replicas) { r.Tell("r0", Report{Sessions: 8, Places: 8}, 2) },
		"failed":   func(r *Replicas) { r.Failed("r0", 2) },
		"gone":     func(r *Replicas) { r.Set([]string{"r1", "r2"}) },
	} {
		r := told(Report{Step: ms}, Report{Step: 50 * ms}, Report{Step: 40 * ms})
		spoil(r)
		if to, move := r.Decide(3); !move || to != "r2" {
			t.Errorf("%s: %s, %v", name, to, move)
		}
		if to, ok := r.Next(3, first); !ok || to != "r2" {
			t.Errorf("%s: next is %s", name, to)
		}
	}
	r := told(Report{}, Report{Draining: true}, Report{Places: 1, Sessions: 1})
	if to, move := r.Decide(3); move {
		t.Errorf("moved to %s, which takes nobody", to)
	}
}

// While all fail, each gets its turn.
func TestNextGoesAround(t *testing.T) {
	r := told(Report{}, Report{}, Report{}, Report{})
	var order []string
	for now := time.Duration(2); len(order) < 8; now++ {
		r.Failed(r.Current(), now)
		to, ok := r.Next(now, first)
		if !ok {
			t.Fatal("nowhere to go")
		}
		r.Use(to, now)
		order = append(order, to)
	}
	seen := map[string]int{}
	for _, a := range order {
		seen[a]++
	}
	if len(seen) != 4 {
		t.Errorf("went to %v", order)
	}
	if _, ok := told(Report{}).Next(2, first); ok {
		t.Error("one replica alone has no next one")
	}
	if _, ok := (&Replicas{}).Next(2, first); ok {
		t.Error("no replica at all has no next one")
	}
}

func TestSample(t *testing.T) {
	r := told(Report{}, Report{}, Report{}, Report{}, Report{})
	rng := rand.New(rand.NewPCG(1, 2))
	asked := map[string]int{}
	for range 400 {
		s := r.Sample(rng.IntN)
		if len(s) != 3 || s[0] != "r0" || s[1] == s[2] {
			t.Fatal(s)
		}
		asked[s[1]]++
		asked[s[2]]++
	}
	for _, a := range []string{"r1", "r2", "r3", "r4"} {
		if asked[a] < 150 {
			t.Errorf("%s was asked %d times of 400", a, asked[a])
		}
	}
}

// Two choices spread a thousand edges over ten replicas far more evenly than one does.
func TestTwoChoicesSpread(t *testing.T) {
	spread := func(choices int) (most int) {
		rng := rand.New(rand.NewPCG(7, 7))
		load := make([]int, 10)
		for range 1000 {
			r := &Replicas{}
			var names []string
			for i := range load {
				names = append(names, fmt.Sprint("r", i))
			}
			r.Set(names)
			if choices == 1 {
				load[rng.IntN(10)]++
				continue
			}
			for _, a := range r.Sample(rng.IntN) {
				r.Tell(a, Report{Step: 40 * ms, Sessions: load[a[1]-'0'], Places: 1000}, 1)
			}
			to, move := r.Decide(1)
			if !move {
				t.Fatal("no choice was made")
			}
			load[to[1]-'0']++
		}
		return slices.Max(load)
	}
	if one, two := spread(1), spread(2); two > 105 || one <= two {
		t.Errorf("fullest of ten: %d by chance, %d by two choices", one, two)
	}
}

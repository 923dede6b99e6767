package cloud

import (
	"fmt"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// crowd makes a loop with sessions of the tenants named, all ready.
func crowd(t testing.TB, c *Config, tenants map[string]int) *loop {
	m := newToy()
	m.info.ContextLength = 1 << 20
	c.Targets = []Target{{Name: "toy", Model: m}}
	if err := c.defaults(); err != nil {
		t.Fatal(err)
	}
	l := newLoop(c, c.Targets[0])
	id := uint64(0)
	for name, n := range tenants {
		for range n {
			id++
			r, err := checkOpen(open(id, promptOf(id, 1), 1<<20), c.Targets[0], m.info, c)
			if err != nil {
				t.Fatal(err)
			}
			r.key.tenant = name
			s := l.newSession(r)
			l.sessions[s.id] = s
			l.mark(s)
		}
	}
	return l
}

// turn runs one step and returns who was in it.
func (l *loop) turn(t testing.TB, now speculative.Time) []share {
	shares, _ := l.plan(now, 100)
	results := make([]backend.Result, len(shares))
	for i := range results {
		results[i].Choices = []speculative.Choice{{Token: 1}}
	}
	if err := l.apply(shares, results, nil, time.Millisecond, 100); err != nil {
		t.Fatal(err)
	}
	for _, sh := range shares { // the edges keep up
		_, _, _ = sh.s.out.take()
		sh.s.acked = len(sh.s.v.Log())
		_ = sh.s.v.Ack(sh.s.acked)
		sh.s.served = now
	}
	return shares
}

// A tenant with 5,000 sessions cannot starve one with a single session, and its own sessions take
// turns.
func TestGreedyTenant(t *testing.T) {
	l := crowd(t, &Config{StepSequences: 16}, map[string]int{"greedy": 5000, "modest": 1})
	steps, modest := 1000, 0
	for i := range steps {
		for _, sh := range l.turn(t, speculative.Time(i+1)*10*time.Millisecond) {
			if sh.s.tenant.Name == "modest" {
				modest++
			}
		}
	}
	if modest < steps*98/100 {
		t.Errorf("the modest tenant's session was in %d of %d steps", modest, steps)
	}
	least, most := 1<<30, 0
	for _, s := range l.sessions {
		if s.tenant.Name == "greedy" {
			least, most = min(least, len(s.v.Log())), max(most, len(s.v.Log()))
		}
	}
	if most-least > 2 {
		t.Errorf("the greedy tenant's sessions have %d to %d tokens: they do not take turns", least, most)
	}
}

// Tenants that have left are forgotten.
func TestTenantsAreForgotten(t *testing.T) {
	l := crowd(t, &Config{}, map[string]int{"a": 3, "b": 2, "c": 1})
	l.turn(t, time.Second)
	for _, s := range l.sessions {
		s.connected = false
		l.drop(s)
	}
	l.look(2*time.Second, 100)
	l.candidates(2*time.Second, 100)
	for i := range 500 {
		l.leaveTenant(l.tenantOf(fmt.Sprint(i)))
	}
	if len(l.tenants) > 130 {
		t.Errorf("%d tenants are remembered", len(l.tenants))
	}
	for name, x := range l.tenants {
		if n := len(x.decode) + len(x.prompts); n > 0 {
			t.Errorf("%s still lists %d sessions", name, n)
		}
	}
}

// A step's own work does not grow with the sessions that are ready.
func BenchmarkCrowd(b *testing.B) {
	for _, n := range []int{500, 2000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := crowd(b, &Config{MaxSessions: n}, map[string]int{"": n})
			b.ReportAllocs()
			for b.Loop() {
				l.turn(b, l.now())
			}
		})
	}
}

package cloud

import (
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// BenchmarkStep is the loop's own work for one step of 256 sessions out of 2,000 that are all ready:
// the worst case.
func BenchmarkStep(b *testing.B) {
	m := newToy()
	m.info.ContextLength = 1 << 20
	c := Config{Targets: []Target{{Name: "toy", Model: m}}}
	if err := c.defaults(); err != nil {
		b.Fatal(err)
	}
	l := newLoop(&c, c.Targets[0])
	for i := range uint64(2000) {
		r, err := checkOpen(open(i, promptOf(i, 1), 1<<20), c.Targets[0], m.info, &c)
		if err != nil {
			b.Fatal(err)
		}
		s := l.newSession(r)
		l.sessions[s.id] = s
		l.mark(s)
	}
	results := make([]backend.Result, c.StepSequences)
	for i := range results {
		results[i].Choices = []speculative.Choice{{Token: 1}}
	}
	tokens := 0
	b.ReportAllocs()
	for b.Loop() {
		shares, _ := l.plan(l.now(), 100)
		if err := l.apply(shares, results[:len(shares)], nil, time.Millisecond, 100); err != nil {
			b.Fatal(err)
		}
		for _, sh := range shares { // the edges keep up
			_, _, _ = sh.s.out.take()
			sh.s.acked = len(sh.s.v.Log())
			_ = sh.s.v.Ack(sh.s.acked)
		}
		tokens += len(shares)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(tokens), "ns/token")
}

package cloud

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// state is a Prometheus collector that looks at the loops' sessions when it is asked.
type state struct {
	sessions, sequences, rows, prefixes *prometheus.Desc

	mu    sync.Mutex
	loops []*loop
}

func newState() *state {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("outrider_cloud_"+name, help, labels, nil)
	}
	return &state{
		sessions: desc("sessions", "Sessions by state: connected (of which ready, blocked for want of KV memory, or parked until "+
			"the edge acknowledges) or idle (the stream broke).", "target", "state"),
		sequences: desc("kv_sequences", "KV sequences of the target: held by sessions, kept of finished ones, and capacity.", "target", "kind"),
		rows:      desc("kv_rows", "KV rows of the target: held for sessions, kept of finished ones, and capacity.", "target", "kind"),
		prefixes:  desc("prefixes", "Logs of finished sessions that a next turn can name, and their tokens.", "target", "kind"),
	}
}

func (s *state) add(l *loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops = append(s.loops, l)
}

func (s *state) remove(l *loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops = slices.DeleteFunc(s.loops, func(o *loop) bool { return o == l })
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.sessions
	ch <- s.sequences
	ch <- s.rows
	ch <- s.prefixes
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	loops := slices.Clone(s.loops)
	s.mu.Unlock()
	all, names := map[string]census{}, []string{}
	for _, l := range loops { // a target that is being replaced has two
		c, ok := all[l.target.Name]
		if !ok {
			names = append(names, l.target.Name)
		}
		all[l.target.Name] = c.plus(l.census())
	}
	for _, name := range names {
		c := all[name]
		gauge := func(d *prometheus.Desc, v int, label string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), name, label)
		}
		gauge(s.sessions, c.connected, "connected")
		gauge(s.sessions, c.ready, "ready")
		gauge(s.sessions, c.blocked, "blocked")
		gauge(s.sessions, c.parked, "parked")
		gauge(s.sessions, c.idle, "idle")
		gauge(s.sequences, c.sequences, "held")
		gauge(s.sequences, c.allSequences, "capacity")
		gauge(s.rows, c.rows, "held")
		gauge(s.sequences, c.keptSequences, "kept")
		gauge(s.rows, c.keptRows, "kept")
		gauge(s.prefixes, c.logs, "logs")
		gauge(s.prefixes, c.logTokens, "tokens")
		gauge(s.rows, c.allRows, "capacity")
	}
}

// census counts sessions, kept logs, and sequences and rows: held, kept and in all.
type census struct {
	connected, ready, blocked, parked, idle, sequences, rows int
	keptSequences, keptRows, logs, logTokens                 int
	allSequences, allRows                                    int
}

func (c census) plus(o census) census {
	return census{c.connected + o.connected, c.ready + o.ready, c.blocked + o.blocked, c.parked + o.parked, c.idle + o.idle,
		c.sequences + o.sequences, c.rows + o.rows, c.keptSequences + o.keptSequences, c.keptRows + o.keptRows, c.logs + o.logs,
		c.logTokens + o.logTokens, c.allSequences + o.allSequences, c.allRows + o.allRows}
}

// censusChunk bounds how long a count holds a step up.
const censusChunk = 256

func (l *loop) census() census {
	l.mu.Lock()
	c := census{connected: l.connected, idle: l.idle.Len(), sequences: len(l.holders),
		keptSequences: l.prefixes.seqs, keptRows: l.prefixes.rows, logs: l.prefixes.age.Len(), logTokens: l.prefixes.tokens,
		allSequences: l.info.Sequences, allRows: l.info.KVTokens}
	all := slices.AppendSeq(make([]*session, 0, len(l.sessions)), maps.Values(l.sessions))
	l.mu.Unlock()
	for some := range slices.Chunk(all, censusChunk) {
		l.mu.Lock()
		for _, s := range some {
			c.count(s)
		}
		l.mu.Unlock()
	}
	return c
}

func (c *census) count(s *session) {
	if s.seq != 0 {
		c.rows += s.v.Held()
	}
	switch {
	case !s.connected:
	case s.blocked:
		c.blocked++
	case s.parkedAt != 0:
		c.parked++
	case s.busy || s.marked:
		c.ready++
	}
}

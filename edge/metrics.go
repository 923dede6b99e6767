package edge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrider-llm/outrider/speculative"
)

// Metrics are the edge's Prometheus metrics.
type Metrics struct {
	requests  *prometheus.CounterVec // outcome: a finish, or failed
	tokens    *prometheus.CounterVec // fate
	nodes     *prometheus.CounterVec // outcome: drafted, judged, accepted, late, stale
	bytes     *prometheus.CounterVec // direction: up, down
	active    prometheus.Gauge
	perToken  prometheus.Histogram
	first     prometheus.Histogram
	resumes   prometheus.Counter
	fallbacks prometheus.Counter
	drafts    *prometheus.CounterVec // reason: why drafting paused
	rtt       prometheus.Gauge

	fates            [5]prometheus.Counter // of tokens, looked up once
	late, unverified prometheus.Counter
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "outrider_edge", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "outrider_edge", Name: name, Help: help})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "outrider_edge", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
	}
	m := &Metrics{
		requests:  prometheus.NewCounterVec(opts("requests_total", "Generations, by outcome."), []string{"outcome"}),
		tokens:    prometheus.NewCounterVec(opts("tokens_total", "Tokens given out, by fate."), []string{"fate"}),
		nodes:     prometheus.NewCounterVec(opts("nodes_total", "Drafted tokens of finished generations, by outcome."), []string{"outcome"}),
		bytes:     prometheus.NewCounterVec(opts("link_bytes_total", "Payload of proposals and acknowledgements (up) and commits (down)."), []string{"direction"}),
		active:    gauge("active_requests", "Generations under way."),
		perToken:  histogram("token_seconds", "Mean time per token of a generation, after the first."),
		first:     histogram("first_token_seconds", "Time from the request to its first token."),
		resumes:   prometheus.NewCounter(opts("resumes_total", "Streams opened to go on with a session.")),
		fallbacks: prometheus.NewCounter(opts("fallbacks_total", "Generations that the draft finished alone.")),
		drafts:    prometheus.NewCounterVec(opts("draft_pauses_total", "Pauses of a session's drafting, by reason."), []string{"reason"}),
		rtt:       gauge("link_rtt_seconds", "Last measured round trip to the cloud, its handling included."),
	}
	for f := range m.fates {
		m.fates[f] = m.tokens.WithLabelValues(speculative.Fate(f).String())
	}
	m.late, m.unverified = m.tokens.WithLabelValues("late"), m.tokens.WithLabelValues("unverified")
	if reg != nil {
		reg.MustRegister(m.requests, m.tokens, m.nodes, m.bytes, m.active, m.perToken, m.first, m.resumes, m.fallbacks,
			m.drafts, m.rtt)
	}
	return m
}

// finished counts a generation that has ended.
func (m *Metrics) finished(s Summary) {
	outcome := s.Finish.String()
	if s.Finish == speculative.NotFinished {
		outcome = "failed"
	}
	m.requests.WithLabelValues(outcome).Inc()
	for name, n := range map[string]int{"drafted": s.Drafted, "judged": s.Usage.Judged, "accepted": s.Usage.Accepted,
		"late": s.Usage.Late, "stale": s.Usage.Stale} {
		m.nodes.WithLabelValues(name).Add(float64(n))
	}
	m.bytes.WithLabelValues("up").Add(float64(s.Uplink))
	m.bytes.WithLabelValues("down").Add(float64(s.Downlink))
	if s.Tokens > 0 {
		m.first.Observe(s.FirstToken.Seconds())
	}
	if s.Tokens > 1 {
		m.perToken.Observe((s.Total - s.FirstToken).Seconds() / float64(s.Tokens-1))
	}
}

// token counts one token that is given out.
func (m *Metrics) token(t GeneratedToken) {
	switch {
	case t.Unverified:
		m.unverified.Inc()
	case t.Late:
		m.late.Inc()
	default:
		m.fates[min(int(t.Fate), len(m.fates)-1)].Inc()
	}
}

// milliseconds rounds up, so that a duration in milliseconds never becomes "none".
func milliseconds(d time.Duration) uint32 {
	return uint32(max(1, min((d+time.Millisecond-1)/time.Millisecond, 1<<32-1)))
}

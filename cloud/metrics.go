package cloud

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// Metrics are the cloud's Prometheus metrics.
type Metrics struct {
	opened    *prometheus.CounterVec // target, kind: new, resumed, refused
	tokens    *prometheus.CounterVec // target, fate
	nodes     *prometheus.CounterVec // target, outcome: drafted, judged, accepted, late, stale
	own       *prometheus.CounterVec // target, outcome: proposed, accepted
	rows      *prometheus.CounterVec // target, kind: prompt, decode
	step      *prometheus.HistogramVec
	queue     *prometheus.HistogramVec
	schedule  *prometheus.HistogramVec
	batch     *prometheus.HistogramVec
	positions *prometheus.HistogramVec
	first     *prometheus.HistogramVec
	bytes     *prometheus.CounterVec // target, direction: up, down
	evictions *prometheus.CounterVec
	failures  *prometheus.CounterVec
	faults    *prometheus.CounterVec
	cost      *prometheus.GaugeVec // target, part: step, position
	spec      *telemetry.SpecDecode
	state     *state
	prefix    *prometheus.CounterVec // target, outcome: hit, miss, unknown
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "outrider_cloud", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "outrider_cloud", Name: name, Help: help}, labels)
	}
	seconds := func(name, help string) *prometheus.HistogramVec {
		return telemetry.Seconds("outrider_cloud", name, help, "target")
	}
	sizes := func(name, help string) *prometheus.HistogramVec {
		return telemetry.Sizes("outrider_cloud", name, help, "target")
	}
	m := &Metrics{
		opened: counter("opened_total", "Streams opened.", "target", "kind"),
		tokens: counter("tokens_total", "Tokens committed, by fate.", "target", "fate"),
		nodes:  counter("nodes_total", "Drafted tokens, by outcome.", "target", "outcome"),
		own:    counter("own_drafts_total", "Tokens that the cloud itself proposed, and those of them that held.", "target", "outcome"),
		rows:   counter("rows_total", "Rows run by the target, and those held of an earlier session.", "target", "kind"),
		step:   seconds("step_seconds", "Duration of a target step."),
		queue:  seconds("queue_seconds", "Time a ready session waited for its step."),
		schedule: telemetry.Brief("outrider_cloud", "schedule_seconds",
			"The cloud's own work for a step: choosing what shares it and handing out what it gave.", "target"),
		batch:     sizes("step_sessions", "Sessions that shared a step."),
		positions: sizes("step_positions", "Rows of a step, those of prompts included."),
		first:     seconds("time_to_first_token_seconds", "Time from a new session's admission to its first token."),
		bytes:     counter("link_bytes_total", "Payload of sessions: from edges (up) and to them (down).", "target", "direction"),
		spec:      telemetry.NewSpecDecode(reg, "cloud"),
		state:     newState(),
		evictions: counter("evictions_total", "Sequences whose KV rows were dropped for want of memory.", "target"),
		failures:  counter("model_failures_total", "Steps lost because the model process was gone.", "target"),
		faults:    counter("faults_total", "Streams ended by a malformed message.", "target"),
		prefix: counter("prefix_total", "New sessions that could name a prefix: rows were held, or none; and names that were not known.",
			"target", "outcome"),
		cost: gauge("cost_seconds", "Measured cost of a step, of one session in it and of one row.", "target", "part"),
	}
	if reg != nil {
		reg.MustRegister(m.opened, m.tokens, m.nodes, m.own, m.rows, m.step, m.queue, m.schedule, m.batch, m.positions, m.first, m.bytes,
			m.evictions, m.failures, m.faults, m.cost, m.state,
			m.prefix)
	}
	return m
}

// labelled holds one target's metrics, looked up once.
type labelled struct {
	costStep, costSequence, costRow                                       prometheus.Gauge
	opened, resumed, refused, promptRows, decodeRows, evictions, failures prometheus.Counter
	faults, drafted, judged, accepted, late, stale, up, down              prometheus.Counter
	own, ownAccepted                                                      prometheus.Counter
	heldRows, prefixHits, prefixMisses, prefixUnknown                     prometheus.Counter
	fate                                                                  [5]prometheus.Counter
	step, queue, schedule, batch, positions, first                        prometheus.Observer
	spec                                                                  *telemetry.Target
}

func (m *Metrics) of(t string) labelled {
	l := labelled{
		up: m.bytes.WithLabelValues(t, "up"), down: m.bytes.WithLabelValues(t, "down"), spec: m.spec.Of(t),
		positions: m.positions.WithLabelValues(t), first: m.first.WithLabelValues(t),
		costStep: m.cost.WithLabelValues(t, "step"), costRow: m.cost.WithLabelValues(t, "position"),
		costSequence: m.cost.WithLabelValues(t, "sequence"), schedule: m.schedule.WithLabelValues(t),
		opened: m.opened.WithLabelValues(t, "new"), resumed: m.opened.WithLabelValues(t, "resumed"),
		refused: m.opened.WithLabelValues(t, "refused"), evictions: m.evictions.WithLabelValues(t),
		promptRows: m.rows.WithLabelValues(t, "prompt"), decodeRows: m.rows.WithLabelValues(t, "decode"),
		failures: m.failures.WithLabelValues(t), faults: m.faults.WithLabelValues(t),
		drafted: m.nodes.WithLabelValues(t, "drafted"), judged: m.nodes.WithLabelValues(t, "judged"),
		accepted: m.nodes.WithLabelValues(t, "accepted"), late: m.nodes.WithLabelValues(t, "late"),
		stale: m.nodes.WithLabelValues(t, "stale"),
		step:  m.step.WithLabelValues(t), queue: m.queue.WithLabelValues(t), batch: m.batch.WithLabelValues(t),
	}
	l.own, l.ownAccepted = m.own.WithLabelValues(t, "proposed"), m.own.WithLabelValues(t, "accepted")
	l.heldRows = m.rows.WithLabelValues(t, "held")
	l.prefixHits, l.prefixMisses = m.prefix.WithLabelValues(t, "hit"), m.prefix.WithLabelValues(t, "miss")
	l.prefixUnknown = m.prefix.WithLabelValues(t, "unknown")
	for f := range l.fate {
		l.fate[f] = m.tokens.WithLabelValues(t, speculative.Fate(f).String())
	}
	return l
}

package edge

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// Metrics are the edge's Prometheus metrics.
type Metrics struct {
	requests   *prometheus.CounterVec   // target, outcome: a finish, or failed
	tokens     *prometheus.CounterVec   // fate
	nodes      *prometheus.CounterVec   // outcome: drafted, judged, accepted, late, stale
	guesses    *prometheus.CounterVec   // source, outcome: proposed, accepted
	first      *prometheus.HistogramVec // target
	perToken   *prometheus.HistogramVec // target
	whole      *prometheus.HistogramVec // target
	active     prometheus.Gauge
	linked     prometheus.Gauge
	resumes    prometheus.Counter
	losses     prometheus.Counter
	reconnects prometheus.Counter
	fallbacks  prometheus.Counter
	drafts     *prometheus.CounterVec // reason: why drafting paused
	prompt     *prometheus.CounterVec // kind: all, named, target_held, draft_held

	answers                             *prometheus.CounterVec // where
	escalations                         prometheus.Counter
	rejoined, confirmed, replaced       prometheus.Counter
	breaker                             prometheus.Gauge
	breakerOpened                       prometheus.Counter
	passes, positions, spent, cloudOnly prometheus.Counter

	prefixUnknown prometheus.Counter
	rtt           prometheus.Gauge
	spec          *telemetry.SpecDecode

	// Looked up once.
	fates                                [5]prometheus.Counter // of tokens
	late, unverified, up, down           prometheus.Counter
	draft, queue, score, load, roundTrip prometheus.Observer

	names telemetry.Names
	mu    sync.Mutex
	specs map[string]*telemetry.Target
}

const failed = "failed" // outcome of a generation without a finish

// Why drafting pauses.
const (
	pauseLost   = "sequence lost"
	pauseMemory = "no memory"
	pauseGone   = "gone"
	pauseFailed = "failed"
)

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const space = "outrider_edge"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Name: name, Help: help})
	}
	m := &Metrics{
		requests: counter("requests_total", "Generations, by outcome.", "target", "outcome"),
		tokens:   counter("tokens_total", "Tokens given out, by fate.", "fate"),
		guesses:  counter("guesses_total", "Positions for which a source besides the draft proposed a token, and at which it was right.", "source", "outcome"),
		nodes:    counter("nodes_total", "Drafted tokens of finished generations, by outcome.", "outcome"),
		first:    telemetry.Seconds(space, "time_to_first_token_seconds", "Time from the request to its first token.", "target"),
		perToken: telemetry.Seconds(space, "time_per_output_token_seconds", "Mean time per token of a generation, after the first.", "target"),
		whole:    telemetry.Seconds(space, "request_seconds", "Time from the request to its last token.", "target"),
		active:   gauge("active_requests", "Generations under way."),
		linked:   gauge("linked_sessions", "Generations whose stream to the cloud is open."),
		drafts:   counter("draft_pauses_total", "Pauses of a session's drafting, by reason.", "reason"),
		prompt: counter("prompt_tokens_total", "Prompt tokens: all, named to the cloud instead of sent, not run by the target or by the draft "+
			"since their rows were held.", "kind"),
		prefixUnknown: prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: "prefix_unknown_total",
			Help: "Streams opened again with the whole log, since the cloud did not know the prefix named."}),
		rtt:       gauge("link_rtt_seconds", "Last measured round trip to the cloud, its handling included."),
		spec:      telemetry.NewSpecDecode(reg, "edge"),
		specs:     map[string]*telemetry.Target{},
		resumes:   prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: "resumes_total", Help: "Streams opened to go on with a session."}),
		losses:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: "link_losses_total", Help: "Streams of unfinished generations that broke or were refused."}),
		fallbacks: prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: "fallbacks_total", Help: "Generations that the draft finished alone."}),
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: "link_reconnects_total",
			Help: "Connections to the cloud that had fallen silent and were replaced."}),
	}
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: name, Help: help})
	}
	m.answers = counter("answers_total", "Answers, by where they ended: device, cooperative or cloud.", "where")
	m.escalations = plain("escalations_total", "Answers that the device began and the cloud took over.")
	m.rejoined = plain("rejoins_total", "Times that the cloud, back in reach, went on with an answer of the draft alone.")
	m.confirmed = plain("verified_later_total", "Tokens of the draft alone that the target confirmed when it took over.")
	m.replaced = plain("replaced_total", "Tokens of the draft alone that the target would not have said: replaced, or kept where they had been given out.")
	m.breaker = gauge("breaker_state", "The circuit breaker of the way to the cloud: 0 closed, 1 probing, 2 open.")
	m.breakerOpened = plain("breaker_opened_total", "Times that the cloud went out of reach.")
	m.passes = plain("target_passes_total", "Passes of the target for finished generations.")
	m.positions = plain("target_positions_total", "Tokens that the target scored for finished generations.")
	m.spent = plain("cost_total", "Estimated cost of the cloud's work, in the unit of prices.*.")
	m.cloudOnly = plain("cost_cloud_only_total", "Estimated cost of the same tokens by the target alone, in the unit of prices.*.")
	for _, where := range []string{OnDevice, Cooperative, InCloud} {
		m.answers.WithLabelValues(where)
	}
	bytes := counter("link_bytes_total", "Payload of proposals and acknowledgements (up) and commits (down).", "direction")
	draft := telemetry.Seconds(space, "draft_seconds", "Duration of one call of the draft for a session, prompt chunks included.")
	queue := telemetry.Seconds(space, "commit_queue_seconds", "Time a session waited in the cloud for its step, as commits tell.")
	score := telemetry.Seconds(space, "commit_score_seconds", "Duration of the target's step, as commits tell.")
	load := telemetry.Sizes(space, "commit_load_sessions", "Sessions that shared the target's step, as commits tell.")
	trip := telemetry.Seconds(space, "link_round_trip_seconds", "Measured round trips to the cloud.")
	m.draft, m.queue, m.score, m.load, m.roundTrip = draft.WithLabelValues(), queue.WithLabelValues(), score.WithLabelValues(),
		load.WithLabelValues(), trip.WithLabelValues()
	m.up, m.down = bytes.WithLabelValues("up"), bytes.WithLabelValues("down")
	for f := range m.fates {
		m.fates[f] = m.tokens.WithLabelValues(speculative.Fate(f).String())
	}
	for _, why := range []string{pauseLost, pauseMemory, pauseGone, pauseFailed} {
		m.drafts.WithLabelValues(why)
	}
	m.late, m.unverified = m.tokens.WithLabelValues("late"), m.tokens.WithLabelValues("unverified")
	if reg != nil {
		reg.MustRegister(m.requests, m.tokens, m.nodes, m.guesses, m.first, m.perToken, m.whole, m.active, m.linked, m.resumes, m.losses,
			m.reconnects, m.fallbacks, m.drafts, m.prompt, m.prefixUnknown, m.answers, m.escalations, m.rejoined, m.confirmed, m.replaced,
			m.breaker, m.breakerOpened, m.passes, m.positions, m.spent, m.cloudOnly, m.rtt, bytes, draft, queue, score, load, trip)
	}
	return m
}

// commit counts what a commit tells of the cloud.
func (m *Metrics) commit(c speculative.Commit) {
	if len(c.Tokens) == 0 || c.Load == 0 { // a replay after a resume tells nothing
		return
	}
	m.queue.Observe(c.Queue.Seconds())
	m.score.Observe(c.Score.Seconds())
	m.load.Observe(float64(c.Load))
}

// finished counts a generation that has ended.
func (m *Metrics) finished(s Summary, a *telemetry.Acceptance) {
	outcome := s.Finish.String()
	if s.Finish == speculative.NotFinished {
		outcome = failed
	}
	target := m.names.Bound(s.Target)
	spec := m.specOf(target)
	m.requests.WithLabelValues(target, outcome).Inc()
	for name, n := range map[string]int{"drafted": s.Drafted, "judged": s.Usage.Judged, "accepted": s.Usage.Accepted,
		"late": s.Usage.Late, "stale": s.Usage.Stale} {
		m.nodes.WithLabelValues(name).Add(float64(n))
	}
	for i, p := range s.Sources {
		m.guesses.WithLabelValues(Source(i).String(), "proposed").Add(float64(p.Proposed))
		m.guesses.WithLabelValues(Source(i).String(), "accepted").Add(float64(p.Accepted))
	}
	for kind, n := range map[string]int{"all": s.PromptTokens, "named": s.Prefix, "target_held": s.Usage.Held, "draft_held": s.DraftHeld} {
		m.prompt.WithLabelValues(kind).Add(float64(n))
	}
	if s.Usage.ScoringPasses > 0 { // told at a proper end only
		a.Drafts, a.DraftTokens, a.Accepted = s.Usage.ScoringPasses, s.Usage.Judged, s.Usage.Accepted
		spec.Add(a)
	}
	if s.Tokens > 0 {
		m.first.WithLabelValues(target).Observe(s.FirstToken.Seconds())
		m.whole.WithLabelValues(target).Observe(s.Total.Seconds())
	}
	if s.Tokens > 1 {
		m.perToken.WithLabelValues(target).Observe((s.Total - s.FirstToken).Seconds() / float64(s.Tokens-1))
	}
}

func (m *Metrics) specOf(target string) *telemetry.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.specs[target]
	if t == nil {
		t = m.spec.Of(target)
		for f := speculative.FinishEnd; f <= speculative.FinishCancelled; f++ {
			m.requests.WithLabelValues(target, f.String())
		}
		m.requests.WithLabelValues(target, failed)
		m.specs[target] = t
	}
	return t
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

// Energy registers the device's energy as the ledger knows it; where it is not known there is no metric.
func (l *Ledger) Energy(reg prometheus.Registerer) {
	if _, ok := l.joules(); !ok {
		return
	}
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "outrider_edge", Name: "device_joules_total",
		Help: "Energy that the whole device has used, where it can be read."}, func() float64 { return l.Totals().Joules }))
}

// account counts what a generation took.
func (m *Metrics) account(s *Summary) {
	m.answers.WithLabelValues(s.Routing.Where).Inc()
	if s.Routing.EscalatedAt > 0 {
		m.escalations.Inc()
	}
	m.passes.Add(float64(s.Usage.Passes))
	m.positions.Add(float64(s.Usage.Positions))
	m.spent.Add(s.Cost)
	m.cloudOnly.Add(s.CostCloudOnly)
}

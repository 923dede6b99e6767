// Package telemetry holds what edge, cloud and plugins share to be observed: the shape of their
// Prometheus metrics, request ids and OpenTelemetry traces.
package telemetry

import (
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry with the collectors of the Go runtime and of this process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Seconds is a histogram of times from 1 ms to a minute, both classic and native.
func Seconds(namespace, name, help string, labels ...string) *prometheus.HistogramVec {
	return histogram(namespace, name, help, prometheus.ExponentialBuckets(0.001, 2, 17), labels)
}

// Brief is a histogram of times from 20 us to 40 ms.
func Brief(namespace, name, help string, labels ...string) *prometheus.HistogramVec {
	return histogram(namespace, name, help, prometheus.ExponentialBuckets(20e-6, 1.5, 20), labels)
}

// Sizes is a histogram of counts from 1 to 1024, both classic and native.
func Sizes(namespace, name, help string, labels ...string) *prometheus.HistogramVec {
	return histogram(namespace, name, help, prometheus.ExponentialBuckets(1, 2, 11), labels)
}

// A native bucket is at most a tenth wider than the one before; a series has no more of them than this.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
)

func histogram(namespace, name, help string, buckets []float64, labels []string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets}, labels)
}

// maxPositions bounds the label position of SpecDecode; deeper ones count as the last.
const maxPositions = 64

// SpecDecode are the counters that vLLM publishes under the same names, with its prefix instead of ours.
type SpecDecode struct {
	drafts, draftTokens, accepted, perPos *prometheus.CounterVec
}

// NewSpecDecode makes the counters of a side, edge or cloud. reg may be nil.
func NewSpecDecode(reg prometheus.Registerer, side string) *SpecDecode {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "outrider", Name: "spec_decode_" + name, Help: help,
			ConstLabels: prometheus.Labels{"side": side}}, labels)
	}
	m := &SpecDecode{
		drafts:      counter("num_drafts_total", "Target passes of a session that scored a proposal.", "target"),
		draftTokens: counter("num_draft_tokens_total", "Proposed tokens that were scored.", "target"),
		accepted:    counter("num_accepted_tokens_total", "Proposed tokens that were accepted.", "target"),
		perPos:      counter("num_accepted_tokens_per_pos_total", "Accepted tokens by their position in the proposal.", "target", "position"),
	}
	if reg != nil {
		reg.MustRegister(m.drafts, m.draftTokens, m.accepted, m.perPos)
	}
	return m
}

// Acceptance gathers what SpecDecode counts. Its zero value is empty.
type Acceptance struct {
	Drafts, DraftTokens, Accepted int
	PerPosition                   [maxPositions]int // passes that accepted at least so many, plus one
}

// Pass adds one target pass that accepted n tokens of a proposal to PerPosition.
func (a *Acceptance) Pass(n int) {
	for i := range n {
		a.PerPosition[min(i, maxPositions-1)]++
	}
}

// Target are the counters of one target, looked up once.
type Target struct {
	m                             *SpecDecode
	name                          string
	drafts, draftTokens, accepted prometheus.Counter
	mu                            sync.Mutex
	perPos                        []prometheus.Counter // as deep as was seen
}

// Of returns a target's counters.
func (m *SpecDecode) Of(target string) *Target {
	return &Target{m: m, name: target, drafts: m.drafts.WithLabelValues(target), draftTokens: m.draftTokens.WithLabelValues(target),
		accepted: m.accepted.WithLabelValues(target)}
}

// Add counts what was gathered.
func (t *Target) Add(a *Acceptance) {
	t.drafts.Add(float64(a.Drafts))
	t.draftTokens.Add(float64(a.DraftTokens))
	t.accepted.Add(float64(a.Accepted))
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, n := range a.PerPosition {
		if n == 0 {
			return // nor is there one beyond
		}
		if i == len(t.perPos) {
			t.perPos = append(t.perPos, t.m.perPos.WithLabelValues(t.name, strconv.Itoa(i)))
		}
		t.perPos[i].Add(float64(n))
	}
}

// Names bounds the values of a label that another machine chooses.
type Names struct {
	mu   sync.Mutex
	seen []string
}

// maxNames is how many values Names tells apart.
const maxNames = 32

// Bound returns name, or "other" when there are too many already.
func (n *Names) Bound(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case slices.Contains(n.seen, name):
	case len(n.seen) == maxNames || len(name) > 128:
		return "other"
	default:
		n.seen = append(n.seen, name)
	}
	return name
}

// Version is the program's version and the commit that it was built from; "devel" and "" when not known.
func Version() (version, revision string) {
	version = "devel"
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return version, ""
	}
	if v := b.Main.Version; v != "" && v != "(devel)" {
		version = v
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return version, revision
}

// RegisterBuild publishes what this process is: one series per engine that it runs. The function adds one.
func RegisterBuild(reg prometheus.Registerer, engines ...string) (add func(engine string)) {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "outrider", Name: "build_info",
		Help: "1; its labels tell version, commit, Go release and engine of a model."}, []string{"version", "revision", "go", "engine"})
	version, revision := Version()
	add = func(engine string) { info.WithLabelValues(version, revision, runtime.Version(), engine).Set(1) }
	for _, e := range engines {
		add(e)
	}
	reg.MustRegister(info)
	return add
}

package load

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// buckets are cumulative counts of a classic histogram by upper bound, the last one infinite.
type buckets struct {
	bounds []float64
	counts []float64
}

// add adds a histogram; all that are added have the same bounds.
func (b *buckets) add(h *dto.Histogram) {
	all := h.GetBucket()
	if n := len(all); n == 0 || !math.IsInf(all[n-1].GetUpperBound(), 1) {
		all = append(all, &dto.Bucket{UpperBound: new(math.Inf(1)), CumulativeCount: new(h.GetSampleCount())})
	}
	if b.bounds == nil {
		b.bounds, b.counts = make([]float64, len(all)), make([]float64, len(all))
	}
	for i := range min(len(all), len(b.counts)) {
		b.bounds[i] = all[i].GetUpperBound()
		b.counts[i] += float64(all[i].GetCumulativeCount())
	}
}

// since takes away what was counted before.
func (b buckets) since(o buckets) buckets {
	out := buckets{b.bounds, slices.Clone(b.counts)}
	for i := range min(len(out.counts), len(o.counts)) {
		out.counts[i] -= o.counts[i]
	}
	return out
}

// quantile interpolates within its bucket; of the last one the lower bound is told.
func (b buckets) quantile(q float64) float64 {
	if len(b.counts) == 0 || b.counts[len(b.counts)-1] == 0 {
		return 0
	}
	want, low, before := q*b.counts[len(b.counts)-1], 0.0, 0.0
	for i, n := range b.counts {
		if n >= want && n > before {
			if math.IsInf(b.bounds[i], 1) {
				return low
			}
			return low + (b.bounds[i]-low)*(want-before)/(n-before)
		}
		low, before = b.bounds[i], n
	}
	return low
}

// millis are quantiles of seconds, in milliseconds.
func (b buckets) millis() Quantiles {
	return Quantiles{P50: 1000 * b.quantile(0.5), P95: 1000 * b.quantile(0.95), P99: 1000 * b.quantile(0.99), Max: 1000 * b.quantile(1)}
}

// ownCPU is how many CPU seconds this process has used; 0 where the system does not tell.
func ownCPU() float64 {
	reg := prometheus.NewRegistry()
	if reg.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) != nil {
		return 0
	}
	families, err := reg.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == "process_cpu_seconds_total" && len(f.GetMetric()) > 0 {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

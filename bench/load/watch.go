package load

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// sample is what a process says of itself.
type sample struct {
	cpu, rss, heap, goroutines float64
	schedule                   buckets
}

// watcher reads a process's metrics before, during and after a run. With no admin address it does
// nothing.
type watcher struct {
	url    string
	client *http.Client
	cancel context.CancelFunc
	done   chan struct{}

	base, start sample
	own         float64 // this process's CPU seconds at the start
	mu          sync.Mutex
	peak        sample
}

const (
	watchEvery = 250 * time.Millisecond
	settleTime = 10 * time.Second
)

func watch(ctx context.Context, admin string) (*watcher, error) {
	w := &watcher{client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	if admin == "" {
		return w, nil
	}
	w.url = strings.TrimSuffix(admin, "/") + "/metrics"
	var err error
	w.base, err = w.read(ctx)
	return w, err
}

func (w *watcher) read(ctx context.Context) (s sample, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return s, fmt.Errorf("load: %q is no admin address: %w", w.url, err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return s, fmt.Errorf("load: cannot read a process's metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		return s, fmt.Errorf("load: cannot read a process's metrics at %s: %w", w.url, err)
	}
	for name, v := range map[string]*float64{"process_cpu_seconds_total": &s.cpu, "process_resident_memory_bytes": &s.rss,
		"go_memstats_heap_inuse_bytes": &s.heap, "go_goroutines": &s.goroutines} {
		for _, m := range families[name].GetMetric() {
			*v = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for _, m := range families["outrider_cloud_schedule_seconds"].GetMetric() {
		s.schedule.add(m.GetHistogram())
	}
	return s, nil
}

// begin starts watching.
func (w *watcher) begin(ctx context.Context) (err error) {
	if w.url == "" {
		return nil
	}
	if w.start, err = w.read(ctx); err != nil {
		return err
	}
	w.own = ownCPU()
	ctx, w.cancel = context.WithCancel(ctx)
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		for sleep(ctx, watchEvery) == nil {
			if s, err := w.read(ctx); err == nil {
				w.raise(s)
			}
		}
	}()
	return nil
}

func (w *watcher) raise(s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peak.rss, w.peak.heap = max(w.peak.rss, s.rss), max(w.peak.heap, s.heap)
	w.peak.goroutines = max(w.peak.goroutines, s.goroutines)
}

func (w *watcher) stop() {
	if w.cancel != nil {
		w.cancel()
		<-w.done
	}
}

// end reads what the run has used.
func (w *watcher) end(ctx context.Context) (p Process, err error) {
	if w.url == "" {
		return p, nil
	}
	w.stop()
	s, err := w.read(ctx)
	if err != nil {
		return p, err
	}
	w.raise(s)
	return Process{CPUSeconds: s.cpu - w.start.cpu, own: ownCPU() - w.own, schedule: s.schedule.since(w.start.schedule).millis(), Memory: Span{Before: w.base.rss / 1e6, Peak: w.peak.rss / 1e6},
		Heap:       Span{Before: w.base.heap / 1e6, Peak: w.peak.heap / 1e6},
		Goroutines: Span{Before: w.base.goroutines, Peak: w.peak.goroutines}}, nil
}

// settle waits, for at most so long, until the process is as it was, and notes how it is then.
func (w *watcher) settle(ctx context.Context, p *Process, most time.Duration) error {
	if w.url == "" {
		return nil
	}
	for begin := time.Now(); ; {
		s, err := w.read(ctx)
		if err != nil {
			return err
		}
		p.Memory.After, p.Heap.After, p.Goroutines.After = s.rss/1e6, s.heap/1e6, s.goroutines
		calm := s.goroutines <= w.base.goroutines && time.Since(begin) > min(3*time.Second, most/4)
		if calm || time.Since(begin) > most {
			return nil
		}
		if err := sleep(ctx, watchEvery/2); err != nil {
			return err
		}
	}
}

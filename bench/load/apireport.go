package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Process is what a process used during a run. Memory figures are in MB.
type Process struct {
	CPUSeconds float64 `json:"cpu_s"`
	Memory     Span    `json:"rss_mb"`
	Heap       Span    `json:"heap_mb"`
	Goroutines Span    `json:"goroutines"`

	schedule Quantiles
	own      float64 // CPU seconds of the process that measures
}

// SlowestClient is the steady client with the most time per token.
type SlowestClient struct {
	MsPerToken   float64 `json:"ms_per_token"`
	FirstTokenMs float64 `json:"first_token_ms"`
	LongestGapMs float64 `json:"longest_gap_ms"`
}

// APIReport is what a run against an API has measured. Quantiles are over the steady clients.
type APIReport struct {
	Clients    int    `json:"clients"`
	Slow       int    `json:"slow"`
	Vanished   int    `json:"vanished"`
	Failed     int    `json:"failed"`  // clients of any kind that got no whole answer, the vanished ones apart
	Starved    int    `json:"starved"` // steady clients that waited longer than the bound for a token
	FirstError string `json:"first_error,omitempty"`

	Tokens          int       `json:"tokens"`
	WallSeconds     float64   `json:"wall_s"`   // until the last client of any kind is through
	SteadySeconds   float64   `json:"steady_s"` // until the last steady one is
	TokensPerSecond float64   `json:"tokens_per_s"`
	MsPerToken      Quantiles `json:"ms_per_token"`
	FirstTokenMs    Quantiles `json:"first_token_ms"`
	LongestGapMs    Quantiles `json:"longest_gap_ms"` // for a token, the first included
	StarveMs        float64   `json:"starve_ms"`      // the bound

	Slowest        SlowestClient      `json:"slowest"`
	SlowMsPerToken float64            `json:"slow_ms_per_token"` // median of the slow clients
	Processes      map[string]Process `json:"processes"`
	ClientErrors   map[string]int     `json:"client_errors,omitempty"`
}

func (c *APIConfig) report(all []*apiClient, wall time.Duration) APIReport {
	r := APIReport{Clients: c.Clients, Slow: c.Slow, WallSeconds: wall.Seconds(), StarveMs: millis(c.Starve), Processes: map[string]Process{},
		ClientErrors: map[string]int{}}
	var perToken, first, gap, slowly []float64
	var begin, end time.Time
	for _, x := range all {
		r.Tokens += x.tokens
		if x.err != nil {
			r.Failed++
			r.ClientErrors[x.err.Error()]++
			if r.FirstError == "" {
				r.FirstError = x.err.Error()
			}
			continue
		}
		switch x.kind {
		case vanishing:
			r.Vanished++
			continue
		case slow:
			slowly = append(slowly, x.perToken())
			continue
		}
		if begin.IsZero() || x.begun.Before(begin) {
			begin = x.begun
		}
		if x.last.After(end) {
			end = x.last
		}
		if x.gap > c.Starve {
			r.Starved++
		}
		perToken, first, gap = append(perToken, x.perToken()), append(first, millis(x.first.Sub(x.begun))), append(gap, millis(x.gap))
		if s := (SlowestClient{x.perToken(), millis(x.first.Sub(x.begun)), millis(x.gap)}); s.MsPerToken >= r.Slowest.MsPerToken {
			r.Slowest = s
		}
	}
	r.MsPerToken, r.FirstTokenMs, r.LongestGapMs, r.SlowMsPerToken = quantiles(perToken), quantiles(first), quantiles(gap), quantiles(slowly).P50
	r.SteadySeconds = end.Sub(begin).Seconds()
	r.TokensPerSecond = share(float64(r.Tokens), wall.Seconds())
	return r
}

// Check says what went wrong, nil when every client got its answer in time and the processes are as
// they were before.
func (r *APIReport) Check() error {
	var wrong []string
	if r.Failed > 0 {
		wrong = append(wrong, fmt.Sprintf("%d clients failed (%s)", r.Failed, r.FirstError))
	}
	if r.Starved > 0 {
		wrong = append(wrong, fmt.Sprintf("%d clients waited longer than %.0f ms for a token", r.Starved, r.StarveMs))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Processes)) {
		if g := r.Processes[name].Goroutines; g.After > g.Before+strayGoroutines {
			wrong = append(wrong, fmt.Sprintf("the %s has %.0f goroutines, it had %.0f before", name, g.After, g.Before))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(wrong, ", "))
}

// strayGoroutines may be there after a run that were not before: the reading of metrics, timers.
const strayGoroutines = 5

// String is the report for people.
func (r APIReport) String() string {
	var b strings.Builder
	line := func(name, format string, a ...any) {
		fmt.Fprintf(&b, "%-18s "+format+"\n", append([]any{name}, a...)...)
	}
	line("clients", "%d at once, besides %d that read slowly and %d that went away", r.Clients, r.Slow, r.Vanished)
	line("outcome", "%d failed, %d starved (no token for %.0f s)", r.Failed, r.Starved, r.StarveMs/1000)
	if r.FirstError != "" {
		line("first error", "%s", r.FirstError)
	}
	line("tokens", "%d in %.1f s, %.0f a second; the steady clients took %.1f s", r.Tokens, r.WallSeconds, r.TokensPerSecond, r.SteadySeconds)
	quantile := func(name string, q Quantiles) {
		line(name, "p50 %.1f  p95 %.1f  p99 %.1f  max %.1f", q.P50, q.P95, q.P99, q.Max)
	}
	quantile("ms per token", r.MsPerToken)
	quantile("first token, ms", r.FirstTokenMs)
	quantile("longest wait, ms", r.LongestGapMs)
	line("slowest client", "%.1f ms per token, first token after %.0f ms, longest wait %.0f ms", r.Slowest.MsPerToken, r.Slowest.FirstTokenMs, r.Slowest.LongestGapMs)
	if r.Slow > 0 {
		line("slow readers", "%.1f ms per token (median)", r.SlowMsPerToken)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Processes)) {
		p := r.Processes[name]
		line(name, "%.1f s CPU; %.0f MB before, %.0f at most, %.0f after; goroutines %.0f, %.0f, %.0f", p.CPUSeconds, p.Memory.Before,
			p.Memory.Peak, p.Memory.After, p.Goroutines.Before, p.Goroutines.Peak, p.Goroutines.After)
	}
	return b.String()
}

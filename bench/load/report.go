package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Span is a figure before, during (at most) and after a run.
type Span struct {
	Before float64 `json:"before"`
	Peak   float64 `json:"peak"`
	After  float64 `json:"after"`
}

// Quantiles of a figure over the sessions.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Report is what a run has measured. Memory figures are in MB; the cloud's figures are 0 when no
// admin address was given.
type Report struct {
	Sessions    int     `json:"sessions"`
	Connections int     `json:"connections"`
	Agreement   float64 `json:"agreement"`
	Failed      int     `json:"failed"`     // sessions that did not finish
	Mismatched  int     `json:"mismatched"` // whose output is not the target's
	Retries     int     `json:"retries"`    // streams opened again because the cloud said so
	FirstError  string  `json:"first_error,omitempty"`

	Tokens           int       `json:"tokens"`
	WallSeconds      float64   `json:"wall_s"`
	TokensPerSecond  float64   `json:"tokens_per_s"`
	MsPerToken       Quantiles `json:"ms_per_token"`
	FirstTokenMs     Quantiles `json:"first_token_ms"`
	AcceptanceRate   float64   `json:"acceptance_rate"`  // accepted of judged
	PassesPerToken   float64   `json:"passes_per_token"` // shares of a target pass
	ProposedPerToken float64   `json:"proposed_per_token"`

	// Jain's index of the sessions' tokens per second: 1 when all are equally fast, 1/n when one has all.
	Fairness float64 `json:"jain"`
	// Of each tenant, when there are several.
	Tenants map[string]TenantReport `json:"tenants,omitempty"`

	CPUMicrosPerToken float64 `json:"cpu_us_per_token"`
	// The cloud's own work for a step, ms (see outrider_cloud_schedule_seconds).
	Schedule Quantiles `json:"schedule_ms"`
	// CPU seconds of the cloud's process and of the one that plays the edges.
	CloudCPU   float64 `json:"cloud_cpu_s"`
	OwnCPU     float64 `json:"edges_cpu_s"`
	Memory     Span    `json:"rss_mb"`
	Heap       Span    `json:"heap_mb"`
	Goroutines Span    `json:"goroutines"`
}

// TenantReport is what one tenant's sessions got.
type TenantReport struct {
	Sessions     int       `json:"sessions"`
	MsPerToken   Quantiles `json:"ms_per_token"`
	FirstTokenMs Quantiles `json:"first_token_ms"`
}

func (c *Config) report(all []*session, wall time.Duration) Report {
	r := Report{Sessions: c.Sessions, Connections: c.Connections, Agreement: c.Agreement, WallSeconds: wall.Seconds()}
	var perToken, first []float64
	var judged, accepted, passes uint64
	proposed := 0
	for _, s := range all {
		n := len(s.log) - len(s.script.prompt)
		r.Tokens += n
		r.Retries += s.retries
		proposed += s.proposed
		u := s.usage
		judged, accepted, passes = judged+u.GetJudged(), accepted+u.GetAccepted(), passes+u.GetPasses()
		switch {
		case errors.Is(s.err, errMismatch):
			r.Mismatched++
		case s.err != nil:
			r.Failed++
		}
		if s.err != nil && r.FirstError == "" {
			r.FirstError = s.err.Error()
		}
		if n > 0 {
			first = append(first, millis(s.first.Sub(s.begun)))
		}
		if n > 1 {
			perToken = append(perToken, millis(s.last.Sub(s.first))/float64(n-1))
		}
	}
	r.Tenants = tenants(all)
	r.Fairness = jain(perToken)
	r.MsPerToken, r.FirstTokenMs = quantiles(perToken), quantiles(first)
	r.TokensPerSecond = share(float64(r.Tokens), wall.Seconds())
	r.AcceptanceRate = share(float64(accepted), float64(judged))
	r.PassesPerToken = share(float64(passes), float64(r.Tokens))
	r.ProposedPerToken = share(float64(proposed), float64(r.Tokens))
	return r
}

// tenants reports on each tenant when there are several.
func tenants(all []*session) map[string]TenantReport {
	out, first, perToken := map[string]TenantReport{}, map[string][]float64{}, map[string][]float64{}
	for _, s := range all {
		t := out[s.tenant]
		t.Sessions++
		out[s.tenant] = t
		if n := len(s.log) - len(s.script.prompt); n > 1 {
			first[s.tenant] = append(first[s.tenant], millis(s.first.Sub(s.begun)))
			perToken[s.tenant] = append(perToken[s.tenant], millis(s.last.Sub(s.first))/float64(n-1))
		}
	}
	if len(out) < 2 {
		return nil
	}
	for name, t := range out {
		t.MsPerToken, t.FirstTokenMs = quantiles(perToken[name]), quantiles(first[name])
		out[name] = t
	}
	return out
}

// jain is Jain's index of the rates whose inverses are given.
func jain(inverse []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range inverse {
		if v > 0 {
			sum, squares = sum+1/v, squares+1/(v*v)
		}
	}
	return share(sum*sum, squares*float64(len(inverse)))
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func share(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func quantiles(v []float64) Quantiles {
	if len(v) == 0 {
		return Quantiles{}
	}
	slices.Sort(v)
	at := func(q float64) float64 { return v[int(q*float64(len(v)-1)+0.5)] }
	return Quantiles{P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: v[len(v)-1]}
}

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	line := func(name, format string, a ...any) {
		fmt.Fprintf(&b, "%-18s "+format+"\n", append([]any{name}, a...)...)
	}
	line("sessions", "%d at once over %d connections, agreement %.2f", r.Sessions, r.Connections, r.Agreement)
	line("outcome", "%d failed, %d differ from the target, %d retries", r.Failed, r.Mismatched, r.Retries)
	if r.FirstError != "" {
		line("first error", "%s", r.FirstError)
	}
	line("tokens", "%d in %.1f s, %.0f a second", r.Tokens, r.WallSeconds, r.TokensPerSecond)
	line("ms per token", "p50 %.1f  p95 %.1f  p99 %.1f  max %.1f", r.MsPerToken.P50, r.MsPerToken.P95, r.MsPerToken.P99, r.MsPerToken.Max)
	line("first token, ms", "p50 %.0f  p95 %.0f  p99 %.0f  max %.0f", r.FirstTokenMs.P50, r.FirstTokenMs.P95, r.FirstTokenMs.P99, r.FirstTokenMs.Max)
	line("work", "%.2f passes and %.2f proposed nodes per token, acceptance %.2f", r.PassesPerToken, r.ProposedPerToken, r.AcceptanceRate)
	line("fairness", "Jain's index %.3f", r.Fairness)
	for _, name := range slices.Sorted(maps.Keys(r.Tenants)) {
		t := r.Tenants[name]
		line("tenant "+name, "%d sessions; ms per token p50 %.1f  p99 %.1f; first token, ms, p50 %.0f  p99 %.0f", t.Sessions,
			t.MsPerToken.P50, t.MsPerToken.P99, t.FirstTokenMs.P50, t.FirstTokenMs.P99)
	}
	if r.Goroutines.Before > 0 {
		line("cloud CPU", "%.1f us per committed token; %.1f s in all, the edges played here took %.1f s", r.CPUMicrosPerToken, r.CloudCPU, r.OwnCPU)
		line("scheduling, ms", "p50 %.2f  p95 %.2f  p99 %.2f of the cloud's own work per step", r.Schedule.P50, r.Schedule.P95, r.Schedule.P99)
		line("cloud memory", "%.0f MB before, %.0f at most, %.0f after (heap %.0f, %.0f, %.0f)", r.Memory.Before, r.Memory.Peak,
			r.Memory.After, r.Heap.Before, r.Heap.Peak, r.Heap.After)
		line("cloud goroutines", "%.0f before, %.0f at most, %.0f after", r.Goroutines.Before, r.Goroutines.Peak, r.Goroutines.After)
	}
	return b.String()
}

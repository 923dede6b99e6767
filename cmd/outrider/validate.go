package main

import (
	"math"
	"time"
)

// validate says which setting is out of range, and what the range is.
func (c *Config) validate() error {
	type number struct {
		key   string
		v     float64
		lo    float64
		hi    float64
		hints string
	}
	for _, n := range []number{
		{"cloud.run_ahead", c.Cloud.RunAhead, runAheadOff, 1, "target passes per token at most"},
		{"edge.run_ahead", c.Edge.RunAhead, 0, 1, "target passes per token at most, 0: the cloud's default"},
		{"cloud.max_sessions", float64(c.Cloud.MaxSessions), 1, 1e6, "sessions per target"},
		{"edge.depth", float64(c.Edge.Depth), -1, 1024, "tokens to draft ahead, 0: adaptive, -1: never draft"},
	} {
		if math.IsNaN(n.v) || n.v < n.lo || n.v > n.hi {
			return usagef("%s is %g, must be between %g and %g (%s)", n.key, n.v, n.lo, n.hi, n.hints)
		}
	}
	for key, d := range map[string]time.Duration{
		"cloud.drain": c.Cloud.Drain, "cloud.idle_ttl": c.Cloud.IdleTTL, "edge.fallback_after": c.Edge.FallbackAfter,
	} {
		if d < 0 || (d > 0 && d < time.Millisecond) {
			return usagef("%s is %s, must be 0 or a time such as 5s (a number without unit counts as nanoseconds)", key, d)
		}
	}
	return nil
}

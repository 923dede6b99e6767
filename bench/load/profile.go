package load

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// Spent is a share of a process's CPU time.
type Spent struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

// topFunctions bounds a report's functions.
const topFunctions = 12

// ReadProfile says where a CPU profile's time went: first by who asked for the work, which adds up to
// 1, then by the function that was running, the busiest ones.
func ReadProfile(file string) ([]Spent, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("load: there is no profile: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	p, err := profile.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("load: %s is no CPU profile: %w", file, err)
	}
	parts, functions, total := map[string]float64{}, map[string]float64{}, 0.0
	for _, s := range p.Sample {
		v := float64(s.Value[len(s.Value)-1])
		total += v
		parts[part(s)] += v
		functions[running(s)] += v
	}
	return append(shares(parts, total, len(parts)), shares(functions, total, topFunctions)...), nil
}

func shares(m map[string]float64, total float64, most int) []Spent {
	out := make([]Spent, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Spent{name, share(m[name], total)})
	}
	slices.SortStableFunc(out, func(a, b Spent) int { return cmp.Compare(b.Share, a.Share) })
	return out[:min(most, len(out))]
}

// names are a sample's functions, the running one first.
func names(s *profile.Sample) (out []string) {
	for _, l := range s.Location {
		for _, line := range l.Line {
			if line.Function != nil {
				out = append(out, line.Function.Name)
			}
		}
	}
	return out
}

func running(s *profile.Sample) string {
	if n := names(s); len(n) > 0 {
		return n[0]
	}
	return "unknown"
}

// part says which part of the cloud a sample belongs to: the first of these in its stack.
func part(s *profile.Sample) string {
	all := names(s)
	for _, p := range []struct{ name, in string }{
		{"scheduling", "/cloud.(*loop).plan"},
		{"scheduling", "/cloud.(*loop).apply"},
		{"the model's process: sending a step and reading its results", "/cloud.(*loop).run"},
		{"garbage collection", "runtime.gcBgMarkWorker"},
		{"garbage collection", "runtime.bgsweep"},
		{"sessions: receiving", "/cloud.receive"},
		{"sessions: sending", "/cloud.(*Server).converse"},
		{"sessions: opening", "/cloud.(*Server)"},
		{"HTTP/2: writing", "transport.(*loopyWriter).run"},
		{"HTTP/2: reading", "transport.(*http2Server).HandleStreams"},
		{"HTTP/2: reading", "transport.(*http2Client).reader"},
		{"the Go scheduler", "runtime.schedule"},
	} {
		if slices.ContainsFunc(all, func(n string) bool { return strings.Contains(n, p.in) }) {
			return p.name
		}
	}
	return "other"
}

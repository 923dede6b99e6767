// Package sweep measures real generations over a grid of settings: every prompt is run with every
// setting and every baseline in turn, so that noise of the machine meets all alike, and each
// generation is one line of a file that a later run goes on with.
package sweep

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/edge"
)

// Way is how edge and cloud work together.
type Way string

// The ways: Outrider itself, and what it is measured against.
const (
	Outrider    Way = "outrider"
	CloudOnly   Way = "cloud-only"  // the target streams alone over the link
	Synchronous Way = "synchronous" // draft k tokens, send them, wait for the verdict
	Colocated   Way = "co-located"  // the same loop without a link; one round trip is added to it for the client's sake
)

// Setting is one dimension's value.
type Setting struct{ Name, Value string }

// Variant is a way of working with its settings.
type Variant struct {
	Way      Way
	Settings []Setting // those that matter to the way, in the order of the dimensions
	Depth    int       // tokens drafted at a time: synchronous and co-located
	Sessions int       // at a time
	Link     string
	Draft    bool // the draft model takes part
	Expected bool // the answer that the workload expects is given as a prediction

	Edge    edge.Config  // what of it the settings decide
	Request edge.Request // likewise
}

// Label names a variant, uniquely within a sweep.
func (v *Variant) Label() string {
	parts := []string{string(v.Way)}
	if v.Depth > 0 {
		parts[0] += fmt.Sprintf("=%d", v.Depth)
	}
	for _, s := range v.Settings {
		parts = append(parts, s.Name+"="+s.Value)
	}
	return strings.Join(parts, " ")
}

// Setting returns a dimension's value, empty when it does not matter to the way.
func (v *Variant) Setting(name string) string {
	for _, s := range v.Settings {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

// ErrGrid is wrapped by errors that say which setting is impossible.
var ErrGrid = errors.New("cannot sweep this")

// Grid holds the values of each dimension by name; what is missing has the dimension's default.
type Grid map[string][]string

// Split reads a list of values. They are parted by commas, or by semicolons where there are any; parts
// of one value such as rtt=10ms,jitter=2ms stay together until a key comes again.
func Split(list string) []string {
	if strings.Contains(list, ";") {
		return trimmed(strings.Split(list, ";"))
	}
	var out []string
	seen := map[string]bool{}
	for _, p := range trimmed(strings.Split(list, ",")) {
		key, _, pair := strings.Cut(p, "=")
		if pair && len(seen) > 0 && !seen[key] {
			out[len(out)-1] += "," + p
		} else {
			out = append(out, p)
			clear(seen)
		}
		if pair {
			seen[key] = true
		}
	}
	return out
}

func trimmed(parts []string) (out []string) {
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// maxVariants bounds a grid.
const maxVariants = 4096

// Variants lists all combinations for Outrider, and those of the settings that matter to them for the
// baselines (such as cloud-only, synchronous=4, co-located=4). Errors wrap ErrGrid.
func (g Grid) Variants(baselines []string) ([]*Variant, error) {
	for name := range g {
		if !slices.ContainsFunc(dimensions(), func(d dimension) bool { return d.name == name }) {
			return nil, fmt.Errorf("%w: no dimension %q: use %s", ErrGrid, name, strings.Join(Dimensions(), ", "))
		}
	}
	out, err := g.combine(&Variant{Way: Outrider})
	if err != nil {
		return nil, err
	}
	for _, b := range baselines {
		v, err := baseline(b)
		if err != nil {
			return nil, err
		}
		more, err := g.combine(v)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	seen := map[string]bool{}
	for _, v := range out {
		l := v.Label()
		if seen[l] {
			return nil, fmt.Errorf("%w: %q stands there twice", ErrGrid, l)
		}
		seen[l] = true
	}
	return out, nil
}

func baseline(name string) (*Variant, error) {
	word, number, _ := strings.Cut(name, "=")
	v := &Variant{Way: Way(word)}
	switch v.Way {
	case CloudOnly:
		if number == "" {
			return v, nil
		}
	case Synchronous, Colocated:
		if number == "" {
			number = "4"
		}
		if n, err := whole(number, 1, 64); err == nil {
			v.Depth, v.Draft = n, true
			return v, nil
		}
	}
	return nil, fmt.Errorf("%w: no baseline %q: use cloud-only, synchronous=K or co-located=K, K drafted tokens at a time from 1 to 64", ErrGrid, name)
}

func (g Grid) combine(base *Variant) ([]*Variant, error) {
	all := []*Variant{base}
	for _, d := range dimensions() {
		if !d.matters(base.Way) {
			continue
		}
		values := g[d.name]
		if len(values) == 0 {
			values = []string{d.standard}
		}
		var next []*Variant
		for _, v := range all {
			for _, value := range values {
				x := *v
				x.Settings = append(slices.Clone(v.Settings), Setting{d.name, value})
				if err := d.set(&x, value); err != nil {
					return nil, fmt.Errorf("%w: %s=%s: %w", ErrGrid, d.name, value, err)
				}
				next = append(next, &x)
			}
		}
		if all = next; len(all) > maxVariants {
			return nil, fmt.Errorf("%w: more than %d combinations", ErrGrid, maxVariants)
		}
	}
	return all, nil
}

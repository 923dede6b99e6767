package edge

import (
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
)

// A request's depth bounds what waits for a verdict; the output stays the target's. An edge that never
// drafts goes on so.
func TestRequestDepth(t *testing.T) {
	slow := link.Config{RTT: 20 * time.Millisecond}
	deepest := func(r *rig, depth int) int {
		most := 0
		req := request(5, 60)
		req.Depth = depth
		c := &collect{t: t}
		_, err := r.edge.Generate(t.Context(), req, func(e Event) error {
			most = max(most, e.Progress.Depth)
			return c.emit(e)
		})
		if err != nil {
			t.Fatal(err)
		}
		r.identical(req, c)
		return most
	}
	r := newRig(t, slow, func(r *rig) { r.target.step = 2 * time.Millisecond })
	free, two, one := deepest(r, 0), deepest(r, 2), deepest(r, 1)
	if free <= 2 || two > 2 || two == 0 || one > 1 {
		t.Errorf("free: at most %d wait, depth 2: %d, depth 1: %d", free, two, one)
	}
	never := newRig(t, slow, func(r *rig) { r.config.Depth = -1 })
	if n := deepest(never, 4); n != 0 {
		t.Errorf("an edge that never drafts had %d tokens waiting", n)
	}
	req := request(5, 4)
	req.Depth = -1
	_, err := r.edge.Generate(t.Context(), req, func(Event) error { return nil })
	wantError(t, err, ErrRequest)
}

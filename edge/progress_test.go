package edge

import (
	"context"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
)

func TestProgressTellsHowItGoes(t *testing.T) {
	r := newRig(t, link.Config{RTT: 5 * time.Millisecond}, func(r *rig) { r.target.step = 2 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var last Progress
	tokens, deepest := 0, 0
	lost, back := false, false
	req := request(3, 200)
	req.IgnoreEnd = true
	s, err := r.edge.Generate(ctx, req, func(e Event) error {
		p := e.Progress
		tokens += len(e.Tokens)
		if p.At < last.At || p.Uplink < last.Uplink || p.Downlink < last.Downlink || p.Passes < last.Passes {
			t.Errorf("%+v after %+v", p, last)
		}
		if p.Tokens != tokens {
			t.Errorf("progress tells of %d tokens, %d were given", p.Tokens, tokens)
		}
		if tokens >= 50 && last.Tokens < 50 {
			r.link.SetDown(true)
			r.link.Cut()
			time.AfterFunc(300*time.Millisecond, func() { r.link.SetDown(false) })
		}
		lost = lost || last.Linked && !p.Linked
		back = back || lost && p.Linked
		deepest, last = max(deepest, p.Depth), p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !lost || !back || last.Resumes == 0 {
		t.Errorf("the cut of the link was not told: lost %v, back %v, %+v", lost, back, last)
	}
	if deepest == 0 || last.Uplink != s.Uplink || last.Downlink != s.Downlink {
		t.Errorf("depth %d, %+v, %+v", deepest, last, s)
	}
	if last.Passes == 0 || last.Passes > last.Tokens || last.Step < 2*time.Millisecond || (last.Plain > 0 && last.Plain < 2*time.Millisecond) {
		t.Errorf("passes: %+v", last)
	}
}

package simulate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/trace"
)

// Goodput at a pace of 8 tokens a second stays near its bound, and is never above it, whatever a step costs;
// sessions share it evenly. Beyond the target's capacity nobody's share is much smaller than another's.
func TestGoodputAgainstItsBound(t *testing.T) {
	for _, shape := range shapes {
		for _, n := range []int{40} {
			c := standard(50 * time.Millisecond)
			c.Sessions, c.Model.Target, c.Branches = n, shape.cost, true
			g, err := MeasureGoodput(context.Background(), c, 8)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-32s %3d sessions: %.0f tokens/s, goodput %.0f of %.0f (%.2f), Jain %.3f, least %.2f", shape.name, n, g.Tokens, g.Goodput, g.Bound, g.Ratio,
				g.Fairness, g.Least)
			if g.Ratio > 1 || g.Ratio < 0.55 || g.Met != n || g.Fairness < 0.9 || g.Least < 0.5 {
				t.Errorf("%s, %d sessions: %+v", shape.name, n, g)
			}
		}
	}
	c := standard(50 * time.Millisecond)
	c.Model.Trace = &trace.Set{}
	if _, err := MeasureGoodput(context.Background(), c, 8); !errors.Is(err, ErrConfig) {
		t.Errorf("a replayed trace: %v", err)
	}
}

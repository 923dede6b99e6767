package edge

import (
	"testing"

	"github.com/outrider-llm/outrider/speculative"
)

// What the cloud is asked for: the request's bound goes before its objective's, that before the edge's.
func TestRunAheadOfObjective(t *testing.T) {
	for _, c := range []struct {
		objective        speculative.Objective
		request, edge    float64
		passes, patience float32
	}{
		{speculative.ObjectiveDefault, 0, 0, 0, 0},
		{speculative.ObjectiveLatency, 0, 0.5, 0.5, 0},
		{speculative.ObjectiveLatency, 0.7, 0.5, 0.7, 0},
		{speculative.ObjectiveCost, 0, 0.5, 0.001, 0.9},
		{speculative.ObjectiveBalanced, 0, 0, 0.3, 0.2},
		{speculative.ObjectiveBalanced, 0.8, 0, 0.8, 0.2},
	} {
		s := &session{e: &Edge{c: Config{RunAhead: c.edge}}, r: Request{Objective: c.objective, MaxPassesPerToken: c.request}}
		if got := s.runAhead(); got.GetMaxPassesPerToken() != c.passes || got.GetPatience() != c.patience {
			t.Errorf("%+v: %v", c, got)
		}
	}
	r := Request{Prompt: "a", Objective: 77}
	if err := r.validate(); err == nil {
		t.Error("an unknown objective is valid")
	}
}

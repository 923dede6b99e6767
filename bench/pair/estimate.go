package pair

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/speculative/simulation"
)

// Estimate is what drafting is worth by the simulation: the production code for proposing, judging
// and run-ahead on a virtual clock, with a draft that agrees at random at the given rate.
type Estimate struct {
	MsPerToken float64 `json:"ms_per_token"`
	Alone      float64 `json:"cloud_only_ms_per_token"` // the target streaming over the same link
	Ratio      float64 `json:"ratio"`
	Passes     float64 `json:"target_passes_per_token"`
	Pays       bool    `json:"pays"` // at least 3 % faster
}

// simulated is how many tokens are generated for an estimate.
const simulated = 400

// Predict estimates one session's speed.
func Predict(rate float64, rtt time.Duration, cost speculative.Cost, draftStep time.Duration) (Estimate, bool) {
	c := simulation.Config{
		Seed: 1, World: simulation.World{Seed: 11, Vocabulary: 1000, Agree: rate, Cover: 0.5}, Prompt: 8, Length: simulated,
		DraftStep: max(draftStep, time.Microsecond), Limits: speculative.Limits{Positions: 256, Prefill: 64},
		Cost: speculative.Cost{Step: max(cost.Step, time.Microsecond), Position: max(cost.Position, time.Nanosecond)},
		Up:   rtt / 2, Down: rtt / 2,
	}
	with, alone := simulation.Run(c, false), simulation.Run(c.CloudOnly(), false)
	if with.Violation != nil || alone.Violation != nil || len(with.Sessions) == 0 || len(alone.Sessions) == 0 ||
		with.Sessions[0].Tokens == 0 || alone.Sessions[0].Tokens == 0 {
		return Estimate{}, false
	}
	per := func(r simulation.Result) float64 {
		s := r.Sessions[0]
		return float64(s.Done-s.Begun) / float64(time.Millisecond) / float64(s.Tokens)
	}
	e := Estimate{MsPerToken: per(with), Alone: per(alone), Passes: float64(with.Sessions[0].Usage.Passes) / float64(with.Sessions[0].Tokens)}
	e.Ratio = e.MsPerToken / e.Alone
	e.Pays = e.Ratio <= 0.97
	return e, true
}

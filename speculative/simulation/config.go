package simulation

import (
	"math/rand/v2"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// Config describes one run. All durations are virtual.
type Config struct {
	Seed     uint64
	Sessions int
	World    World
	Prompt   int // tokens
	Length   int // tokens to generate at most
	Stop     []string

	Edge      speculative.ProposerConfig // MaxLength and EndTokens are filled in
	DraftStep time.Duration
	Cloud     speculative.VerifierConfig // PromptLength and Ending are filled in
	Own       bool                       // the cloud proposes as World.Own says
	Limits    speculative.Limits
	Cost      speculative.Cost
	FairWait  time.Duration // a session that waited longer is behind its pace

	Up, Down, Jitter time.Duration // one way
	Faults           Faults
	Spread           time.Duration // sessions start within this time
}

// Faults are what the world does to a session. Counts are per session, rates per opportunity.
type Faults struct {
	Cuts        int
	Keep        float64 // rate at which the cloud still has a session when it is resumed
	EarlyLink   bool    // the edge proposes before the cloud has answered its Open
	Duplicate   float64 // an earlier message of the stream is sent again
	Hostile     int     // forged messages
	Evict       int     // the cloud drops a session's KV rows
	StepFails   float64 // the model fails in a step
	DraftFails  float64
	Read        time.Duration // the edge takes so long to read a commit
	CancelAfter time.Duration // 0: never
}

// any reports whether anything but delay disturbs the run.
func (f Faults) any() bool { return f != Faults{} && f != Faults{EarlyLink: true} }

// Chaos draws a run from a seed: everything that protocol.md allows to go wrong, in all mixtures.
func Chaos(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 0xC4A05))
	ms := func(lo, hi float64) time.Duration {
		return time.Duration((lo + (hi-lo)*r.Float64()) * float64(time.Millisecond))
	}
	one := func(n int) bool { return r.IntN(n) == 0 }
	window := 1 + r.IntN(16)
	c := Config{
		Seed:     seed,
		Sessions: 1,
		World: World{Seed: r.Uint64(), Vocabulary: []int{4, 8, 1000}[r.IntN(3)], EndRate: []float64{0, 0.03}[r.IntN(2)],
			Agree: []float64{0, 1, r.Float64(), r.Float64(), r.Float64()}[r.IntN(5)], Cover: r.Float64()},
		Prompt: 1 + r.IntN(12), Length: 1 + r.IntN(60),
		Edge: speculative.ProposerConfig{Window: window, MinPath: []float64{1e-6, 0.01, 0.3}[r.IntN(3)],
			Gap: []time.Duration{time.Microsecond, 8 * time.Millisecond, 40 * time.Millisecond}[r.IntN(3)], Branches: one(2)},
		DraftStep: ms(1, 30),
		Cloud: speculative.VerifierConfig{Window: window, Credit: []int{0, speculative.AckEvery, 20 + r.IntN(60)}[r.IntN(3)],
			MaxPassesPerToken: []float64{0, 1, 0.5, 0.1}[r.IntN(4)], Defer: ms(10, 300)},
		Limits:   speculative.Limits{Positions: 2 + r.IntN(20), Prefill: r.IntN(8)},
		Cost:     speculative.Cost{Step: ms(5, 55), Position: ms(0.001, 2)},
		FairWait: 300 * time.Millisecond,
		Up:       ms(0.5, 120), Down: ms(0.5, 120),
	}
	if one(4) {
		c.Up, c.Down = ms(0.1, 2), ms(0.1, 2)
	}
	if one(4) {
		c.Stop = []string{string(piece(Token(r.IntN(50)))) + string(piece(Token(r.IntN(50)))), "ab"}[r.IntN(2):]
	}
	if one(8) {
		c.Edge.Depth = 1 + r.IntN(4)
	}
	if one(8) {
		c.Edge.DraftContext = c.Prompt + 1 + r.IntN(30)
	}
	if one(6) {
		c.Edge.Window += r.IntN(20) // the edge learns the cloud's window when the stream is open
	}
	c.Cloud.Chains = one(6)
	if one(3) {
		c.Jitter = ms(0, 60)
	}
	if one(4) {
		c.Sessions = 2 + r.IntN(3)
		c.Spread = ms(0, 300)
		c.Length = min(c.Length, 30)
		c.Limits.Sequences = []int{0, 1, 2}[r.IntN(3)]
		c.Cost.Sequence = ms(0, 5)
	}
	if !one(4) {
		c.Faults = chaosFaults(r, one, ms)
	}
	if one(2) {
		c.Cloud.Patience = 0.5 * r.Float64()
	}
	c.chaosOwn(rand.New(rand.NewPCG(seed, 0xC10D)))
	c.Edge.Thrifty = one(3)
	if one(8) { // a near cloud, seldom flushes and a nervous link: streams break with much unsent
		c.Up, c.Down, c.Jitter, c.DraftStep = ms(0.1, 2), ms(0.1, 2), 0, ms(1, 8)
		c.Edge.Gap, c.World.Agree, c.Length = 100*time.Millisecond, 0.9, 60
		c.Faults.Cuts, c.Faults.Keep = 6, 1
	}
	return c
}

// chaosOwn has the cloud propose, too, in every other run.
func (c *Config) chaosOwn(r *rand.Rand) {
	c.Own, c.World.Own = r.IntN(2) == 0, []float64{0, 1, r.Float64()}[r.IntN(3)]
	c.Cloud.Own.Rows, c.Cloud.Own.Most = []float64{0, 0, 10}[r.IntN(3)], r.IntN(8)
}

func chaosFaults(r *rand.Rand, one func(int) bool, ms func(lo, hi float64) time.Duration) Faults {
	f := Faults{Keep: []float64{0, 0.5, 1}[r.IntN(3)], EarlyLink: one(2)}
	if one(2) {
		f.Cuts = 1 + r.IntN(4)
	}
	if one(4) {
		f.Duplicate = 0.3
	}
	if one(3) {
		f.Hostile = 1 + r.IntN(6)
	}
	if one(4) {
		f.Evict = 1 + r.IntN(3)
	}
	if one(4) {
		f.StepFails = 0.15
	}
	if one(6) {
		f.DraftFails = 0.2
	}
	if one(6) {
		f.Read = ms(20, 200)
	}
	if one(8) {
		f.CancelAfter = ms(50, 1500)
	}
	return f
}

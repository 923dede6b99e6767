package speculative

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// engine is a synthetic target.
type engine func(rng *rand.Rand, sequences, rows int) time.Duration

func linear(c Cost, noise float64) engine {
	return func(rng *rand.Rand, sequences, rows int) time.Duration {
		t := float64(c.Step) + float64(sequences)*float64(c.Sequence) + float64(rows)*float64(c.Position)
		if noise > 0 {
			t *= 1 + noise*rng.NormFloat64()
		}
		return time.Duration(t)
	}
}

// feed shows steps of up to 60 sessions with up to 5 rows each; with prompts one in three also runs
// chunks of them.
func feed(m *CostModel, rng *rand.Rand, n int, e engine, prompts bool) {
	for range n {
		sequences := 1 + rng.IntN(60)
		rows := sequences * (1 + rng.IntN(5))
		if prompts && rng.IntN(3) == 0 {
			k := 1 + rng.IntN(4)
			sequences, rows = sequences+k, rows+k*64
		}
		m.Observe(sequences, rows, max(time.Microsecond, e(rng, sequences, rows)))
	}
}

// worst is the largest relative error of the estimate over the steps that may be planned.
func worst(m *CostModel, e engine) (w float64) {
	c := m.Cost()
	for _, sequences := range []int{1, 10, 60} {
		for _, per := range []int{1, 3, 5} {
			truth := float64(e(nil, sequences, per*sequences))
			told := float64(c.Step) + float64(sequences)*float64(c.Sequence) + float64(per*sequences)*float64(c.Position)
			w = max(w, math.Abs(told/truth-1))
		}
	}
	return w
}

func TestCostModelLearns(t *testing.T) {
	us, ms := time.Microsecond, time.Millisecond
	rowsOnly, both, bySession := Cost{Step: 40 * ms, Position: 300 * us}, Cost{Step: 40 * ms, Sequence: 500 * us, Position: 100 * us}, Cost{Step: 20 * ms, Sequence: 800 * us}
	padded := func(_ *rand.Rand, _, rows int) time.Duration { return 20*ms + time.Duration((rows+31)/32)*5*ms }
	stalled := func(rng *rand.Rand, s, rows int) time.Duration { // one step in ten is held up for long
		d := linear(both, 0.02)(rng, s, rows)
		if rng.IntN(10) == 0 {
			d *= time.Duration(2 + rng.IntN(8))
		}
		return d
	}
	for name, c := range map[string]struct {
		e, truth engine
		prompts  bool
		most     float64
	}{
		"rows only":       {e: linear(rowsOnly, 0), most: 0.01},
		"both":            {e: linear(both, 0), most: 0.01},
		"by session":      {e: linear(bySession, 0), most: 0.01},
		"noise of 5 %":    {e: linear(both, 0.05), truth: linear(both, 0), most: 0.06},
		"noise of 20 %":   {e: linear(both, 0.2), truth: linear(both, 0), most: 0.2},
		"prompts":         {e: linear(both, 0.03), truth: linear(both, 0), prompts: true, most: 0.05},
		"padded to 32":    {e: padded, most: 0.25},
		"stalls":          {e: stalled, truth: linear(both, 0), most: 0.25},
		"almost free row": {e: linear(Cost{Step: 20 * ms, Position: 10 * us}, 0.02), truth: linear(Cost{Step: 20 * ms, Position: 10 * us}, 0), most: 0.06},
	} {
		if c.truth == nil {
			c.truth = c.e
		}
		for seed := range uint64(5) {
			var m CostModel
			rng := rand.New(rand.NewPCG(seed, 1))
			feed(&m, rng, 200, c.e, c.prompts)
			if w := worst(&m, c.truth); w > c.most {
				t.Errorf("%s, seed %d: %.3f off, at most %.2f is allowed: %+v", name, seed, w, c.most, m.Cost())
			}
		}
	}
}

// A target that becomes three times slower, and fast again, is known within some dozen steps.
func TestCostModelFollowsAChange(t *testing.T) {
	fast, slow := Cost{Step: 20 * time.Millisecond, Position: 100 * time.Microsecond}, Cost{Step: 60 * time.Millisecond, Position: 300 * time.Microsecond}
	for seed := range uint64(5) {
		var m CostModel
		rng := rand.New(rand.NewPCG(seed, 2))
		for i, c := range []Cost{fast, slow, fast} {
			if i > 0 {
				feed(&m, rng, 40, linear(c, 0.03), false)
			} else {
				feed(&m, rng, 300, linear(c, 0.03), false)
			}
			if w := worst(&m, linear(c, 0)); w > 0.12 {
				t.Errorf("seed %d, change %d: %.3f off: %+v", seed, i, w, m.Cost())
			}
		}
	}
}

// Steps of one size say nothing about a row, whatever the noise: the prior stays.
func TestCostModelDoesNotReadNoise(t *testing.T) {
	if p := new(CostModel).Cost(); p.Step <= 0 || p.Position <= 0 {
		t.Errorf("with nothing measured: %+v", p)
	}
	for seed := range uint64(20) {
		var m CostModel
		rng := rand.New(rand.NewPCG(seed, 3))
		for range 100 { // 4 or 5 rows; a step takes 40 ms, sometimes up to five times as long
			d := 40 * time.Millisecond
			if rng.IntN(4) == 0 {
				d += time.Duration(rng.Int64N(int64(160 * time.Millisecond)))
			}
			m.Observe(4, 4+rng.IntN(2), d)
		}
		if p := m.Cost(); p.Position > 5*time.Millisecond || p.Step < 25*time.Millisecond {
			t.Errorf("seed %d: from steps of 4 or 5 rows: %+v", seed, p)
		}
	}
	var m CostModel
	for _, n := range []int{0, -1, 3} { // nothing odd breaks it
		m.Observe(n, n, time.Duration(n))
	}
	m.Observe(1, 1, time.Hour)
	m.Observe(1, 1, 1)
	if c := m.Cost(); c.Step < 0 || c.Position <= 0 {
		t.Errorf("after nonsense: %+v", c)
	}
}

package cloud

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestCostModelFindsTheLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var c costModel
	if p := c.cost(); p.Step <= 0 || p.Position <= 0 {
		t.Errorf("with nothing measured: %+v", p)
	}
	for range 300 { // 40 ms + 0.3 ms a row, and up to 4 ms of noise
		rows := 1 + rng.IntN(300)
		c.observe(rows, 38*time.Millisecond+time.Duration(rows)*300*time.Microsecond+time.Duration(rng.IntN(4000))*time.Microsecond)
	}
	p := c.cost()
	if p.Step < 36*time.Millisecond || p.Step > 44*time.Millisecond || p.Position < 280*time.Microsecond || p.Position > 320*time.Microsecond {
		t.Errorf("found %+v, want about 40 ms and 0.3 ms", p)
	}
	var same costModel // steps of one size tell nothing about a row
	for range 50 {
		same.observe(4, 40*time.Millisecond)
	}
	if p := same.cost(); p.Position <= 0 || p.Step < 30*time.Millisecond {
		t.Errorf("from equal steps: %+v", p)
	}
}

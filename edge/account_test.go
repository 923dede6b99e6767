package edge

import (
	"encoding/json"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/edge/sensors"
	"github.com/outrider-llm/outrider/speculative"
)

func TestCost(t *testing.T) {
	p := Prices{Input: 1, Output: 10, Pass: 4, Position: 2}
	for name, c := range map[string]struct {
		sum         Summary
		cost, alone float64
	}{
		"together": {Summary{PromptTokens: 50, Tokens: 30, Origins: Origins{Accepted: 20, Bonus: 10},
			Usage: speculative.Usage{Passes: 10, Positions: 40, Prefilled: 50}}, 50 + 300 + 40 + 80, 50 + 30*16},
		"device":    {Summary{PromptTokens: 50, Tokens: 30, Origins: Origins{Device: 30}}, 0, 50 + 30*16},
		"escalated": {Summary{PromptTokens: 50, Tokens: 30, Origins: Origins{Device: 10, Accepted: 15, Correction: 5}, Usage: speculative.Usage{Passes: 5, Positions: 20, Prefilled: 60}}, 60 + 200 + 20 + 40, 60 + 30*16},
		"nothing":   {Summary{}, 0, 0},
	} {
		cost, alone := p.cost(&c.sum)
		if math.Abs(cost*million-c.cost) > 1e-6 || math.Abs(alone*million-c.alone) > 1e-6 {
			t.Errorf("%s: %g and %g, want %g and %g", name, cost*million, alone*million, c.cost, c.alone)
		}
	}
}

// Every token has an origin, per answer and in total, and the totals go on after a restart and a reload.
func TestTotals(t *testing.T) {
	const zone = "sys/class/powercap/intel-rapl:0/energy_uj"
	files := fstest.MapFS{zone: &fstest.MapFile{Data: []byte("1000000")}}
	s := sensors.New(files)
	ledger := NewLedger(s)
	r := newRig(t, link.Config{RTT: 10 * time.Millisecond}, func(r *rig) {
		r.config.Prices, r.config.Ledger = Prices{Pass: million}, ledger
	})
	r.target.step = 2 * time.Millisecond
	tokens, device, passes := 0, 0, 0
	for i, mode := range []Mode{ModeCooperative, ModeOnlyOnDevice, ModeOnlyInCloud} {
		req := request(i, 40)
		req.Mode = mode
		files[zone].Data = []byte([]string{"2000000", "3000000", "4000000"}[i])
		_, sum := r.generate(req, nil)
		o := sum.Origins
		if o.Device+o.cloud() != sum.Tokens || (o.Device > 0) != (mode == ModeOnlyOnDevice) || sum.Cost != float64(sum.Usage.Passes) || sum.CostCloudOnly != float64(sum.Tokens) {
			t.Errorf("%v: %+v, cost %g and %g, %+v", mode, o, sum.Cost, sum.CostCloudOnly, sum.Usage)
		}
		tokens, device, passes = tokens+sum.Tokens, device+o.Device, passes+sum.Usage.Passes
	}
	got := r.edge.Totals()
	if got.Answers != 3 || got.Tokens != tokens || got.Origins.Device != device || got.Passes != passes || got.Where[OnDevice] != 1 || got.Where[InCloud] != 1 ||
		!got.Priced || math.Abs(got.Saved()-float64(tokens-passes)) > 1e-9 || got.Joules != 3 || !got.EnergyKnown || got.Uplink == 0 || got.Downlink == 0 {
		t.Errorf("%+v, want %d tokens, %d of the device, %d passes", got, tokens, device, passes)
	}
	if err := r.edge.Reload(r.config, func() {}); err != nil {
		t.Fatal(err)
	}
	r.generate(request(9, 5), nil)
	text, err := json.Marshal(r.edge.Totals())
	if err != nil {
		t.Fatal(err)
	}
	next := NewLedger(s)
	if err := next.Load(text); err != nil {
		t.Fatal(err)
	}
	if again := next.Totals(); again.Answers != 4 || !again.Since.Equal(got.Since) || again.Joules < 3 {
		t.Errorf("%+v", again)
	}
	if err := next.Load([]byte("{")); err == nil {
		t.Error("nonsense was taken")
	}
	m, err := (&service{e: r.edge}).Stats(t.Context(), nil)
	if back := TotalsFromProto(m); err != nil || back.Answers != 4 || back.Origins != r.edge.Totals().Origins || back.Saved() != r.edge.Totals().Saved() {
		t.Errorf("%+v %v", back, err)
	}
}

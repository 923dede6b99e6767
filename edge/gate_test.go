package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
)

// A slow cloud is spared a share of the requests that can do without, not all at once.
func TestPressureShiftsWork(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.config.Mode = ModeAuto })
	begin := func() (kept int) {
		t.Helper()
		for range 50 {
			// Nothing but the pressure keeps so long a prompt on the device.
			rt, err := r.edge.route(&Request{Prompt: strings.Repeat("a long prompt of many words ", 400)})
			if err != nil {
				t.Fatal(err)
			}
			if rt.Rule == "brown-out" && rt.Where == OnDevice {
				kept++
			}
		}
		return kept
	}
	if n := begin(); n > 0 {
		t.Errorf("a calm cloud is spared %d of 50", n)
	}
	g := &r.edge.link.gate
	last := 0
	for range 4 { // refused again and again, each time a while later
		g.l.began = g.l.began.Add(-1200 * time.Millisecond)
		g.refused(3 * time.Second)
		want := int(50 * g.press(nil))
		n := begin()
		if n < want-2 || n > want+6 || // it goes on rising
			n < last || n-last > 22 {
			t.Errorf("spared %d of 50, wanted about %d; before that %d", n, want, last)
		}
		last = n
	}
	if last < 25 {
		t.Errorf("spared %d of 50 after 5 s of refusals", last)
	}
}

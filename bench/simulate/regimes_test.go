package simulate

import (
	"fmt"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/trace"
)

// regime is a world that stays as it is.
type regime struct {
	agreement float64
	draft     time.Duration
	rtt       time.Duration
	uplink    int64 // bits per second, 0: unlimited
}

func (r regime) String() string {
	s := fmt.Sprintf("agreement %g, draft %v, RTT %v", r.agreement, r.draft, r.rtt)
	if r.uplink > 0 {
		s += fmt.Sprintf(", %d kbit/s up", r.uplink/1000)
	}
	return s
}

func (r regime) config(sessions, tokens int) Config {
	c := standard(r.rtt)
	c.Sessions, c.Tokens, c.Model.Agreement, c.Model.Draft = sessions, tokens, r.agreement, r.draft
	c.Link.Up = link.Way{Rate: r.uplink}
	return c
}

// fixed are the settings among which one who knows the regime may choose: never to draft, a fixed depth, or
// another bound on the path probability.
func fixed(c Config) (out []Config) {
	for _, depth := range []int{-1, 1, 2, 4, 8, 16, 32} {
		f := c
		f.Depth = depth
		out = append(out, f)
	}
	for _, path := range []float64{0.05, 0.2, 0.5} {
		f := c
		f.MinPath = path
		out = append(out, f)
	}
	return out
}

// knowing is the time under the best fixed settings.
func knowing(t *testing.T, c Config) (best time.Duration) {
	for _, f := range fixed(c) {
		if took := sum(t, f).took; best == 0 || took < best {
			best = took
		}
	}
	return best
}

// The adaptive depth takes at most 5 % longer than the best fixed one for the regime, which it is not told;
// 15 % over a slow uplink.
func TestRegret(t *testing.T) {
	drafts, rtts, sessions := []time.Duration{1, 8, 40}, []time.Duration{0, 50, 500}, 2
	if full() {
		drafts, rtts, sessions = []time.Duration{1, 2, 4, 8, 20, 40}, []time.Duration{0, 10, 50, 100, 200, 500}, 20
	}
	var worst, total float64
	var where regime
	n := 0
	try := func(r regime) {
		c := r.config(sessions, 250)
		regret := sum(t, c).took.Seconds()/knowing(t, c).Seconds() - 1
		if total, n = total+regret, n+1; regret > worst {
			worst, where = regret, r
		}
		if most := 0.05 + 0.1*float64(min(1, r.uplink)); regret > most { // a slow uplink must be found out
			t.Errorf("%v: %.1f %% longer than the best fixed setting", r, 100*regret)
		}
	}
	for _, agreement := range []float64{0, 0.2, 0.5, 0.8, 0.95} {
		for _, draft := range drafts {
			for _, rtt := range rtts {
				try(regime{agreement, draft * time.Millisecond, rtt * time.Millisecond, 0})
			}
		}
		try(regime{agreement, 4 * time.Millisecond, 50 * time.Millisecond, 25_000})
	}
	t.Logf("%d regimes: regret %.2f %% on average, %.2f %% at worst (%v)", n, 100*total/float64(n), 100*worst, where)
}

// phases are recorded sessions whose agreement changes after so many positions.
func phases(seed uint64, sessions, length int, agreement ...float64) *trace.Set {
	set := &trace.Set{}
	for s := range sessions {
		x := trace.Session{}
		for k, a := range agreement {
			p := pair{seed: mix(seed, uint64(s)), m: &Model{Agreement: a, Second: 0.5}, table: mock.Beta(a, 1.5)}
			for i := range length {
				pos := k*length + i
				outcome := byte(trace.Miss)
				if first, second := p.hit(pos); first {
					outcome = trace.Hit
				} else if second {
					outcome = trace.Second
				}
				x.Outcome += string(outcome)
				x.Confidence = append(x.Confidence, float32(p.agreement(pos)))
			}
		}
		set.Sessions = append(set.Sessions, x)
	}
	return set
}

// A draft that becomes good or bad in mid-session is followed within a few dozen tokens: the session takes at
// most 8 % longer than with the best fixed setting of each half.
func TestSwitches(t *testing.T) {
	sessions, rtts := 4, []time.Duration{10, 200}
	if full() {
		sessions, rtts = 60, []time.Duration{10, 50, 100, 200, 500}
	}
	for _, rtt := range rtts {
		for _, s := range [][2]float64{{0.95, 0}, {0, 0.95}, {0.8, 0.2}, {0.2, 0.8}} {
			c := regime{rtt: rtt * time.Millisecond, draft: 4 * time.Millisecond}.config(sessions, 600)
			c.Model.Trace = phases(7, sessions, 300, s[0], s[1])
			took := sum(t, c)
			best := time.Duration(0)
			for _, a := range s {
				half := c
				half.Tokens, half.Model.Trace = 300, phases(7, sessions, 300, a)
				best += knowing(t, half)
			}
			regret := took.took.Seconds()/best.Seconds() - 1
			t.Logf("RTT %3d ms, agreement %g then %g: regret %.1f %%", rtt, s[0], s[1], 100*regret)
			if regret > 0.08 {
				t.Errorf("RTT %d ms, agreement %g then %g: %.1f %% longer than who knows", rtt, s[0], s[1], 100*regret)
			}
		}
	}
}

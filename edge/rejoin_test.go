package edge

import (
	"slices"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/edge/reach"
)

// outage is a rig whose requests go on with the draft soon after the cloud is gone.
func outage(t *testing.T, misses uint64) *rig {
	t.Helper()
	return newRig(t, link.Config{RTT: 2 * time.Millisecond}, func(r *rig) {
		r.draft.misses = misses
		r.draft.step, r.target.step = 8*time.Millisecond, time.Millisecond
		r.config.Fallback, r.config.FallbackAfter = FallbackDraft, 150*time.Millisecond
	})
}

// interrupted runs a request whose cloud is killed after some tokens and back after a while.
func (r *rig) interrupted(req Request, after int, away time.Duration) (*collect, Summary, int) {
	var once sync.Once
	var back *time.Timer
	confirmed := 0
	c := &collect{t: r.t}
	s, err := r.edge.Generate(r.t.Context(), req, func(e Event) error {
		_ = c.emit(e)
		if e.Verified > 0 {
			if e.Verified <= confirmed || e.Verified > len(c.tokens) {
				r.t.Errorf("%d tokens verified of %d, before %d", e.Verified, len(c.tokens), confirmed)
			}
			confirmed = e.Verified
		}
		if len(c.tokens) >= after {
			once.Do(func() {
				r.cloud.kill()
				back = time.AfterFunc(away, r.cloud.start)
			})
		}
		return nil
	})
	if err != nil {
		r.t.Errorf("after %d tokens: %v", len(c.tokens), err)
	}
	if back != nil && back.Stop() {
		r.cloud.start()
	}
	eventually(r.t, "the cloud to be in reach", func() bool { _, shut := r.edge.link.gate.shut(); return !shut })
	return c, s, confirmed
}

// fallbacks counts the times that the draft went on alone.
func (r *rig) fallbacks() float64 {
	var m dto.Metric
	if err := r.edge.c.Metrics.fallbacks.Write(&m); err != nil {
		r.t.Error(err)
	}
	return m.GetCounter().GetValue()
}

// A client that shows pending text gets the target's answer: what the draft wrote was a proposal.
func TestRejoinWithPendingText(t *testing.T) {
	t.Parallel()
	r := outage(t, 3)
	kept, replaced := 0, 0
	for seed := range 4 {
		req := request(seed, 100)
		req.Pending = true
		c, s, _ := r.interrupted(req, 20, 400*time.Millisecond)
		if len(c.tokens) < 80 {
			continue // its end came first
		}
		r.identical(req, c)
		if !s.Exact || s.Unverified != 0 || s.Routing.EscalatedAt == 0 || s.Routing.Where != Cooperative || s.Routing.Shown != 0 {
			t.Errorf("seed %d: %+v", seed, s)
		}
		kept, replaced = kept+s.Routing.Kept, replaced+s.Routing.EscalatedAt-s.Routing.Kept
	}
	if kept < 10 || replaced == 0 {
		t.Errorf("%d kept and %d replaced say nothing", kept, replaced)
	}
	r.empty()
}

// One that does not has got the draft's text: it is confirmed as far as the target says the same, and the
// target goes on after all of it.
func TestRejoinAfterShowing(t *testing.T) {
	t.Parallel()
	r := outage(t, 3)
	parted, confirmedAll := 0, 0
	for seed := 0; seed < 6 || seed < 30 && (parted == 0 || confirmedAll == 0); seed++ {
		req := request(seed, 100)
		before := r.fallbacks()
		c, s, confirmed := r.interrupted(req, 20, 300*time.Millisecond)
		if r.fallbacks() > before+1 {
			continue // a machine that stalls makes outages of its own
		}
		first := slices.IndexFunc(c.all, func(k GeneratedToken) bool { return k.Unverified })
		if first < 0 || s.Routing.EscalatedAt == 0 {
			continue
		}
		shown := first
		for shown < len(c.all) && c.all[shown].Unverified {
			shown++
		}
		if slices.ContainsFunc(c.all[shown:], func(k GeneratedToken) bool { return k.Unverified }) || s.Routing.Shown != shown-first {
			t.Fatalf("seed %d: unverified tokens after the cloud came back: %+v", seed, s.Routing)
		}
		// The log up to what was given out alone, by the target and then by the draft; then the target on that.
		log := append(slices.Clone(req.Tokens), c.tokens[:first]...)
		want := r.draft.follow(req.Params, len(req.Tokens), slices.Clip(log), len(req.Tokens)+shown)
		if !slices.Equal(want, c.tokens[first:shown]) {
			t.Fatalf("seed %d: the draft wrote %v, given out was %v", seed, want, c.tokens[first:shown])
		}
		truth := r.target.follow(req.Params, len(req.Tokens), slices.Clip(log), len(req.Tokens)+shown)
		same := 0
		for same < len(want) && same < len(truth) && truth[same] == want[same] {
			same++
		}
		log = append(log, want...)
		if rest := r.target.follow(req.Params, len(req.Tokens), slices.Clip(log), 110); !slices.Equal(rest, c.tokens[shown:]) {
			t.Errorf("seed %d: after %d tokens the target says %v, given out was %v", seed, shown, rest, c.tokens[shown:])
		}
		if s.Verified != same || s.Unverified != len(want)-same || same > 0 && confirmed != first+same || s.Exact != (same == len(want)) ||
			s.Origins.Device != s.Unverified || s.Tokens != len(c.tokens) {
			t.Errorf("seed %d: %d of %d agree; confirmed up to %d from %d; %+v", seed, same, len(want), confirmed, first, s)
		}
		if same == len(want) {
			confirmedAll++
		} else {
			parted++
		}
	}
	if parted == 0 || confirmedAll == 0 {
		t.Errorf("%d answers parted and %d were confirmed: that says nothing", parted, confirmedAll)
	}
	r.empty()
}

// While the breaker is open, requests that may do without the cloud do not wait for it.
func TestBreakerSparesTheWait(t *testing.T) {
	t.Parallel()
	r := outage(t, 3)
	r.edge.c.FallbackAfter = 2 * time.Second
	r.cloud.kill()
	req := request(1, 10)
	if _, s := r.generate(req, nil); s.FirstToken < 2*time.Second || s.Unverified != s.Tokens {
		t.Errorf("the first request: %+v", s)
	}
	st, _ := r.edge.Status(t.Context())
	if st.Breaker == reach.Closed {
		t.Errorf("the breaker is %s", st.Breaker)
	}
	r.draft.step = 0
	if _, s := r.generate(req, nil); s.FirstToken > 1600*time.Millisecond || s.Unverified != s.Tokens {
		t.Errorf("the second request: %+v", s)
	}
	wait := request(2, 10)
	wait.Fallback = FallbackWait
	time.AfterFunc(100*time.Millisecond, r.cloud.start)
	c, _ := r.generate(wait, nil)
	r.identical(wait, c)
	eventually(t, "the breaker to close", func() bool { st, _ := r.edge.Status(t.Context()); return st.Breaker == reach.Closed })
	c, s := r.generate(req, nil)
	if r.identical(req, c); !s.Exact || s.Unverified > 0 {
		t.Errorf("after that: %+v", s)
	}
}

// Outages after outages in one answer: what was held back is the next proposal, nothing is lost or doubled.
func TestManyOutagesInOneAnswer(t *testing.T) {
	t.Parallel()
	for _, pending := range []bool{true, false} {
		r := outage(t, 2)
		r.edge.c.FallbackAfter = 60 * time.Millisecond // most outages are longer
		stop := make(chan struct{})
		var harm sync.WaitGroup
		harm.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(60+i%3*40) * time.Millisecond):
				}
				r.cloud.kill()
				time.Sleep(time.Duration(40+i%4*60) * time.Millisecond)
				r.cloud.start()
			}
		})
		rejoins := 0
		for seed := range 2 {
			req := request(seed, 120)
			req.Pending = pending
			c, s := r.generate(req, nil)
			if s.Routing.EscalatedAt > 0 {
				rejoins++
			}
			if unverified := s.Unverified + s.Verified; s.Tokens != len(c.tokens) || unverified == 0 && !s.Exact || pending && s.Exact && unverified > 0 {
				t.Errorf("%+v", s)
			}
			if s.Exact {
				r.identical(req, c)
			}
			log := slices.Clone(req.Tokens)
			for i, k := range c.all { // each token is the target's or the draft's own after those before
				one := r.target.follow(req.Params, len(req.Tokens), slices.Clip(log), len(log)+1)
				two := r.draft.follow(req.Params, len(req.Tokens), slices.Clip(log), len(log)+1)
				if k.ID != one[0] && (!k.Unverified || k.ID != two[0]) {
					t.Fatalf("token %d is %+v, the target says %d, the draft %d", i, k, one[0], two[0])
				}
				log = append(log, k.ID)
			}
		}
		close(stop)
		harm.Wait()
		if rejoins == 0 {
			t.Error("no answer was taken up again")
		}
		r.empty()
	}
}

package edge

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/speculative"
)

// Sessions share a link that is cut again and again; each must say what the target alone says, once.
func TestCutsChangeNothing(t *testing.T) {
	r := newRig(t, link.Config{RTT: 4 * time.Millisecond, Jitter: time.Millisecond}, func(r *rig) {
		r.target.step, r.draft.step = time.Millisecond, 200*time.Microsecond
	})
	stop := make(chan struct{})
	var cutter, sessions sync.WaitGroup
	cutter.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20*time.Millisecond + rand.N(60*time.Millisecond)):
				r.link.Cut()
			}
		}
	})
	var mu sync.Mutex
	resumes, exact, each := 0, true, 8
	if os.Getenv("OUTRIDER_VERIFY") == "1" {
		each = 250
	}
	for worker := range 4 {
		sessions.Go(func() {
			for i := range each {
				req := request(1000*worker+i, 80)
				c, s := r.generate(req, nil)
				r.identical(req, c)
				mu.Lock()
				resumes, exact = resumes+s.Resumes, exact && s.Exact
				mu.Unlock()
			}
		})
	}
	sessions.Wait()
	close(stop)
	cutter.Wait()
	if resumes == 0 || !exact {
		t.Errorf("%d resumes, exact %v", resumes, exact)
	}
	r.empty()
}

func TestCloudRestart(t *testing.T) {
	for _, orderly := range []bool{false, true} {
		r := newRig(t, link.Config{RTT: 2 * time.Millisecond}, func(r *rig) { r.target.step = time.Millisecond })
		for seed := range 3 {
			var once sync.Once
			req := request(seed, 120)
			c, s := r.generate(req, func(n int) {
				if n < 30 {
					return
				}
				once.Do(func() {
					if orderly {
						ctx, cancel := context.WithCancel(t.Context())
						cancel()
						r.cloud.server.Drain(ctx)
					}
					r.cloud.kill()
					r.cloud.start()
				})
			})
			r.identical(req, c)
			if len(c.tokens) > 40 && (s.Resumes == 0 || !s.Exact) {
				t.Errorf("orderly %v: %d resumes, exact %v", orderly, s.Resumes, s.Exact)
			}
		}
		r.empty()
	}
}

func TestOtherNumericsAfterResumeAreNotExact(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.step = time.Millisecond })
	var once sync.Once
	req := request(1, 100)
	c, s := r.generate(req, func(n int) {
		if n < 20 {
			return
		}
		once.Do(func() {
			r.cloud.kill()
			r.target.info.Numerics = "toy/2"
			r.cloud.start()
		})
	})
	r.identical(req, c)
	if s.Exact || s.Numerics != "toy/2" {
		t.Errorf("exact %v, numerics %s", s.Exact, s.Numerics)
	}
}

// A target whose choices depend on its passes is never called exact, and the summary says why.
func TestShapeDependentTargetsAreNotExact(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.info.ShapeDependent = true })
	c, s := r.generate(request(1, 20), func(int) {})
	if s.Exact || !s.ShapeDependent || len(c.tokens) == 0 {
		t.Errorf("exact %v, shape dependent %v, %d tokens", s.Exact, s.ShapeDependent, len(c.tokens))
	}
}

// A link that hangs without closing anything is found out and given up.
func TestSilentLinkIsReplaced(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) {
		r.target.step, r.config.LinkTimeout = time.Millisecond, 400*time.Millisecond
	})
	var once sync.Once
	req := request(3, 100)
	c, s := r.generate(req, func(n int) {
		if n < 20 {
			return
		}
		once.Do(func() {
			r.link.SetDown(true)
			time.AfterFunc(time.Second, func() { r.link.SetDown(false) })
		})
	})
	r.identical(req, c)
	if s.Resumes == 0 {
		t.Error("the session was not resumed")
	}
	r.empty()
}

func TestFallbackFail(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.config.FallbackAfter = 200 * time.Millisecond })
	r.cloud.kill()
	_ = r.link.Close() // nothing listens any more
	_, err := r.edge.Generate(t.Context(), request(1, 10), (&collect{}).emit)
	wantError(t, err, ErrNoCloud)
	if !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error does not say why, in one line: %v", err)
	}
	r.empty()
}

func TestFallbackWait(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.config.Fallback, r.config.FallbackAfter = FallbackWait, time.Millisecond })
	r.cloud.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := r.edge.Generate(ctx, request(1, 10), (&collect{}).emit)
	wantError(t, err, context.DeadlineExceeded)
	time.AfterFunc(100*time.Millisecond, r.cloud.start)
	req := request(2, 30)
	c, _ := r.generate(req, nil)
	r.identical(req, c)
}

func TestFallbackDraft(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.FallbackAfter, r.target.step = 500*time.Millisecond, time.Millisecond
	})
	warm := request(1, 5)
	warm.Fallback = FallbackWait
	r.generate(warm, nil)
	cut := 0
	for _, after := range []int{25, 0} {
		if after == 0 {
			r.cloud.kill()
		}
		req := request(7, 60)
		req.Fallback = FallbackDraft
		c, s := r.generate(req, func(n int) {
			if cut == 0 && n >= after {
				cut = n
				r.cloud.kill()
			}
		})
		verified := 0
		for i, tok := range c.all {
			if !tok.Unverified {
				if verified++; verified != i+1 {
					t.Fatal("a verified token follows an unverified one")
				}
			}
		}
		log := append(append([]Token{}, req.Tokens...), c.tokens[:verified]...)
		for i, got := range c.tokens[verified:] {
			if want := r.draft.next(backend.Setup{Params: req.Params, PromptLength: 10}, log).Token; got != want {
				t.Fatalf("token %d is %d, the draft says %d", verified+i, got, want)
			}
			log = append(log, got)
		}
		if s.Exact || s.Unverified != len(c.tokens)-verified || s.Unverified == 0 || s.Finish != speculative.FinishLength ||
			len(c.tokens) != 60 || (after > 0 && verified < after) {
			t.Errorf("after %d: %d tokens, %d verified, %+v", after, len(c.tokens), verified, s)
		}
		r.empty()
	}
}

func TestFallbackDraftSurvivesItsDraft(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.config.FallbackAfter = 50 * time.Millisecond })
	r.cloud.kill()
	r.draft.step = time.Millisecond
	req := request(7, 100)
	req.Fallback = FallbackDraft
	var once sync.Once
	c, _ := r.generate(req, func(n int) {
		if n > 20 {
			once.Do(func() { r.draft.kill(); time.AfterFunc(50*time.Millisecond, r.draft.revive) })
		}
	})
	if want := r.draft.oracle(req.Params, req.Tokens, 110); len(c.tokens) != len(want) {
		t.Errorf("got %d tokens, the draft alone says %d", len(c.tokens), len(want))
	}
	r.draft.broken = backend.ErrInvalid
	_, err := r.edge.Generate(t.Context(), req, (&collect{}).emit)
	wantError(t, err, ErrNoCloud)
	wantError(t, err, backend.ErrInvalid)
	long := request(1, 0)
	long.Tokens, long.Fallback = prompt(1, r.draft.info.ContextLength+1), FallbackDraft
	_, err = r.edge.Generate(t.Context(), long, (&collect{}).emit)
	wantError(t, err, ErrNoCloud)
}

func TestDraftDeath(t *testing.T) {
	r := newRig(t, link.Config{RTT: 2 * time.Millisecond}, func(r *rig) { r.target.step = 2 * time.Millisecond })
	var once sync.Once
	for seed := range 3 {
		req := request(seed, 150)
		c, s := r.generate(req, func(n int) {
			if n > 20 {
				once.Do(func() { r.draft.kill(); time.AfterFunc(30*time.Millisecond, r.draft.revive) })
			}
		})
		r.identical(req, c)
		if seed > 0 && len(c.tokens) > 50 && s.Drafted == 0 {
			t.Error("drafting did not go on after the restart")
		}
	}
	r.draft.kill() // and never comes back
	before := r.draft.calls
	req := request(50, 50)
	c, s := r.generate(req, nil)
	r.identical(req, c)
	if n := r.draft.calls - before; s.Drafted != 0 || n > 3 {
		t.Errorf("a dead draft wrote %d tokens and was asked %d times", s.Drafted, n)
	}
	r.empty()
	r.draft.revive()
}

func TestDraftErrorsNeverFailTheSession(t *testing.T) {
	for _, err := range []error{backend.ErrInvalid, backend.ErrNoMemory, backend.ErrSequenceLost, backend.ErrContextFull,
		backend.ErrLoad, errors.New("something else")} {
		r := newRig(t, link.Config{}, func(r *rig) { r.draft.broken, r.target.step = err, 2*time.Millisecond })
		req := request(4, 50)
		c, s := r.generate(req, nil)
		r.identical(req, c)
		r.draft.mu.Lock()
		calls := r.draft.calls
		r.draft.mu.Unlock()
		if s.Drafted != 0 || calls == 0 || calls > 10 {
			t.Errorf("%v: drafted %d in %d calls", err, s.Drafted, calls)
		}
	}
}

func TestDraftRecovers(t *testing.T) {
	r := newRig(t, link.Config{RTT: 2 * time.Millisecond}, func(r *rig) { r.target.step = 2 * time.Millisecond })
	req := request(4, 100)
	c, s := r.generate(req, func(n int) {
		if n%20 == 0 {
			r.draft.mu.Lock()
			r.draft.lost++
			r.draft.mu.Unlock()
		}
	})
	r.identical(req, c)
	if s.Usage.Accepted == 0 {
		t.Error("nothing was accepted after a lost sequence")
	}
}

// More sessions than the draft has room for: those without wait for their turn, all go on.
func TestDraftWithoutMemory(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) {
		r.draft.info.Sequences, r.target.step = 1, time.Millisecond
	})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			req := request(i, 100)
			c, _ := r.generate(req, nil)
			r.identical(req, c)
		})
	}
	wg.Wait()
	r.empty()
}

func TestDraftWithShortContext(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) { r.draft.info.ContextLength = 40 })
	req := request(4, 100)
	c, s := r.generate(req, nil)
	r.identical(req, c)
	if s.Drafted == 0 || s.Drafted > 200 {
		t.Errorf("drafted %d", s.Drafted)
	}
}

func TestWithoutDraft(t *testing.T) {
	for _, none := range []bool{true, false} {
		r := newRig(t, link.Config{}, func(r *rig) {
			if none {
				r.draft = nil
			}
		})
		req := request(4, 50)
		req.NoDraft = !none
		c, s := r.generate(req, nil)
		r.identical(req, c)
		if s.Drafted != 0 || s.Usage.Drafted != 0 {
			t.Errorf("drafted %d, the cloud says %d", s.Drafted, s.Usage.Drafted)
		}
		if none {
			req.Fallback = FallbackDraft
			_, err := r.edge.Generate(t.Context(), req, (&collect{}).emit)
			wantError(t, err, ErrRequest)
		}
	}
}

func TestFullCloudIsAskedAgain(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.cloud.config, r.config.Fallback, r.target.step = cloud.Config{MaxSessions: 1}, FallbackWait, time.Millisecond
	})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			req := request(i, 40)
			c, _ := r.generate(req, nil)
			r.identical(req, c)
		})
	}
	wg.Wait()
}

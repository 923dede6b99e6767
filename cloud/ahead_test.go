package cloud

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// ran runs a step that was chosen and says what it gave.
func ran(s *step) *outcome {
	o := &outcome{step: *s, results: make([]backend.Result, len(s.shares)), took: time.Millisecond}
	for i, sh := range s.shares {
		o.results[i].Choices = make([]speculative.Choice, len(sh.seg.Tokens))
	}
	return o
}

// A step that is chosen while another one runs shares no session with it, is run at once, without those that
// have ended since, and what it gives is handed out all the same.
func TestChosenAhead(t *testing.T) {
	l := crowd(t, &Config{StepSequences: 8}, map[string]int{"a": 64})
	first, _, _, err := l.between(nil, false)
	if err != nil || len(first.shares) != 8 || l.ahead.due == 0 {
		t.Fatalf("%v, %+v", err, l.ahead)
	}
	l.choose()
	if l.ahead.next == nil {
		t.Fatal("nothing was chosen")
	}
	in := map[*session]bool{}
	for _, sh := range first.shares {
		in[sh.s] = true
	}
	for _, sh := range l.ahead.next.shares {
		if in[sh.s] {
			t.Fatal("a session is in two steps")
		}
	}
	ended := l.ahead.next.shares[3].s
	ended.finish(speculative.FinishCancelled)
	second, _, _, _ := l.between(ran(first), false)
	if second == nil || len(second.shares) != 7 || ended.busy || l.ahead.given == nil {
		t.Fatalf("%+v, the ended one is busy: %v", second, ended.busy)
	}
	for _, sh := range second.shares {
		if sh.s == ended {
			t.Error("a session that has ended is run")
		}
	}
	l.handOut()
	for s := range in {
		if s.busy || len(s.v.Log()) != 2 {
			t.Errorf("busy %v, %d tokens", s.busy, len(s.v.Log()))
		}
	}
	l.choose()
	chosen := l.ahead.next
	failed := ran(second)
	failed.results, failed.err = nil, errors.New("gone")
	if s, _, _, err := l.between(failed, false); s != nil || err == nil || l.ahead.next != nil {
		t.Errorf("after a step that failed: %+v, %v", s, err)
	}
	for _, sh := range chosen.shares {
		if sh.s.busy || len(sh.s.v.Log()) != 1 {
			t.Error("a step that was forgone has left something behind")
		}
	}
	if last, _, _, _ := l.between(nil, true); last != nil {
		t.Error("a loop that stops goes on")
	}
}

// Many sessions, few places in a step, a model that dies, streams that break: every output is the target's, and
// steps were chosen ahead.
func TestCrowdedSessions(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{StepSequences: 4})
	var forwards atomic.Int64
	m.setHook(func() {
		if n := forwards.Add(1); n%150 == 0 && n < 700 {
			m.kill()
			time.AfterFunc(time.Millisecond, m.revive)
		}
		time.Sleep(200 * time.Microsecond)
	})
	var wg sync.WaitGroup
	for i := range uint64(48) {
		wg.Go(func() {
			n := newNaive(t, open(i, promptOf(i, 1+int(i%5)), 48))
			for n.open.Stream = 1; n.open.Stream < 6; n.open.Stream++ {
				ctx, cut := context.WithCancel(t.Context())
				if i%4 == 1 && n.open.Stream < 3 {
					time.AfterFunc(time.Duration(5+i)*time.Millisecond, cut)
				}
				err := n.run(ctx, r.c)
				cut()
				if err == nil {
					n.check()
					return
				}
			}
			t.Errorf("session %d does not finish", i)
		})
	}
	wg.Wait()
	r.empty()
	var n dto.Metric
	if err := r.targets[0].loop.m.ahead.Write(&n); err != nil || n.GetCounter().GetValue() < 20 {
		t.Errorf("%v, %g steps were chosen ahead", err, n.GetCounter().GetValue())
	}
}

package cloud

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// TestTinyKVMemory runs many sessions in a memory that holds a few: all finish, exactly, and the
// work thrown away stays within bounds.
func TestTinyKVMemory(t *testing.T) {
	for name, c := range map[string]struct{ rows, sequences int }{
		"rows":      {200, 1000},
		"sequences": {100000, 3},
		"one":       {70, 1000},
		"both":      {150, 4},
	} {
		t.Run(name, func(t *testing.T) {
			m := newToy()
			m.info.KVTokens, m.info.Sequences = c.rows, c.sequences
			r := start(t, m, Config{Credit: 12})
			var wg sync.WaitGroup
			for i := range uint64(60) {
				wg.Go(func() {
					n := newNaive(t, open(i, promptOf(i, 1+int(i*7%30)), 64))
					if i%3 == 0 {
						n.onToken = func(int) { time.Sleep(time.Millisecond) } // often out of credit
					}
					for n.open.Stream = 1; ; n.open.Stream++ {
						ctx, cut := context.WithCancel(t.Context())
						if i%4 == 1 && n.open.Stream < 3 {
							time.AfterFunc(time.Duration(5+i)*time.Millisecond, cut)
						}
						err := n.run(ctx, r.c)
						cut()
						if err == nil {
							break
						}
						if ctx.Err() == nil || n.open.Stream > 3 {
							t.Errorf("session %d: %v", i, err)
							return
						}
					}
					n.check()
				})
			}
			wg.Wait()
			r.empty()
			t.Logf("%d steps", m.forwards)
			if m.forwards > 60*64*2 {
				t.Errorf("%d steps for at most %d tokens", m.forwards, 60*64)
			}
		})
	}
}

func TestSessionLargerThanKVMemory(t *testing.T) {
	m := newToy()
	m.info.KVTokens = 40
	r := start(t, m, Config{})
	id := longSession(1, 8, 100)
	n := newNaive(t, open(id, promptOf(id, 8), 100))
	wantCode(t, n.run(t.Context(), r.c), codes.ResourceExhausted)
	if got := len(n.log); got < 38 {
		t.Errorf("it ended at %d tokens, 40 rows were there", got)
	}
	r.empty()
}

// TestStalledEdgeKeepsNobodyWaiting: its rows are evicted though it is older.
func TestStalledEdgeKeepsNobodyWaiting(t *testing.T) {
	m := newToy()
	m.info.Sequences = 1
	r := start(t, m, Config{Credit: 8})
	id := longSession(1, 8, 60)
	deaf, result := paused(t, r, open(id, promptOf(id, 8), 60), 8)
	for i := range uint64(3) {
		n := newNaive(t, open(100+i, promptOf(100+i, 8), 60))
		if err := n.run(t.Context(), r.c); err != nil {
			t.Fatal(err)
		}
		n.check()
	}
	again := newNaive(t, open(id, deaf.log[:8], 60)) // a newer stream of the stalled one
	again.open.Stream = 2
	if err := again.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	again.check()
	<-result
	r.empty()
}

func TestIdleSessionsExpire(t *testing.T) {
	r := start(t, newToy(), Config{IdleTTL: 50 * time.Millisecond, Credit: 8})
	id := longSession(1, 8, 60)
	ctx, cut := context.WithCancel(t.Context())
	n := newNaive(t, open(id, promptOf(id, 8), 60))
	n.deaf = true
	n.onToken = func(length int) {
		if length == 16 {
			cut()
		}
	}
	_ = n.run(ctx, r.c)
	r.empty()
	n.open.Stream, n.deaf, n.onToken = 2, false, nil
	if err := n.run(t.Context(), r.c); err != nil { // rebuilt from its log
		t.Fatal(err)
	}
	n.check()
}

func TestIdleSessionsAreBounded(t *testing.T) {
	r := start(t, newToy(), Config{MaxIdle: 3, Credit: 8, IdleTTL: time.Hour})
	for i := range uint64(10) {
		id := longSession(i*50, 8, 60)
		ctx, cut := context.WithCancel(t.Context())
		n := newNaive(t, open(id, promptOf(id, 8), 60))
		n.deaf, n.onToken = true, func(int) { cut() }
		_ = n.run(ctx, r.c)
	}
	eventually(t, "at most 3 idle", func() bool { c, i := r.Sessions(); return c == 0 && i == 3 })
	eventually(t, "at most 3 sequences", func() bool { n, _ := r.toy.held(); return n <= 3 })
}

// TestBlockedSessionGoesOn: memory for one session; the younger one waits until the older one is
// parked, or its stream breaks. Both hold their place for long.
func TestBlockedSessionGoesOn(t *testing.T) {
	for _, parks := range []bool{true, false} {
		m := newToy()
		m.info.Sequences = 1
		r := start(t, m, Config{Credit: 8, IdleTTL: time.Hour, StallTimeout: time.Hour})
		gate, entered := make(chan struct{}), make(chan struct{}, 1000)
		m.setHook(func() {
			entered <- struct{}{}
			<-gate
		})
		id := longSession(1, 8, 60)
		older := newNaive(t, open(id, promptOf(id, 8), 60))
		ctx, cut := context.WithCancel(t.Context())
		if older.deaf = parks; !parks {
			older.onToken = func(length int) {
				if length >= 30 {
					cut()
				}
			}
		}
		first := make(chan error, 1)
		go func() { first <- older.run(ctx, r.c) }()
		<-entered
		younger := newNaive(t, open(500, promptOf(500, 8), 60))
		second := make(chan error, 1)
		go func() { second <- younger.run(t.Context(), r.c) }()
		eventually(t, "both are there", func() bool { c, _ := r.Sessions(); return c == 2 })
		m.setHook(nil)
		close(gate)
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		younger.check()
		cut()
		<-first
	}
}

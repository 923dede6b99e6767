package reference

import (
	"sync"
	"sync/atomic"
)

// pool spreads loops over a fixed number of goroutines, of which the caller is one. Only one
// goroutine at a time may call run.
type pool struct {
	workers int
	worth   int // the cost that is worth waking a goroutine for
	wake    chan *loop
	done    sync.WaitGroup
}

// loop is one call of run. A helper that wakes up too late finds nothing left of it, so nobody
// waits for a goroutine that the system has not let run yet.
type loop struct {
	fn       func(worker, lo, hi int)
	n, grain int
	next     atomic.Int64
	pieces   sync.WaitGroup // not done yet
}

func newPool(workers int) *pool {
	p := &pool{workers: workers, worth: parallelWork, wake: make(chan *loop, workers)}
	for i := 1; i < workers; i++ {
		p.done.Go(func() {
			for l := range p.wake {
				l.work(i)
			}
		})
	}
	return p
}

// close ends the goroutines; run must not be called after it.
func (p *pool) close() {
	close(p.wake)
	p.done.Wait()
}

// parallelWork is the cost, in multiply-adds, below which waking a goroutine costs more than it
// saves.
const parallelWork = 1 << 16

// run calls fn for all of [0, n) in pieces and returns when all are done. cost is the work of one
// index in multiply-adds; fn's worker is below p.workers and held by one goroutine at a time.
func (p *pool) run(n, cost int, fn func(worker, lo, hi int)) {
	if n <= 0 {
		return
	}
	helpers := min(p.workers-1, n-1, n*cost/p.worth)
	if helpers <= 0 {
		fn(0, 0, n)
		return
	}
	// A few pieces for each, so that a goroutine that the system delays does not hold up all.
	l := &loop{fn: fn, n: n, grain: max(1, n/(4*(helpers+1)))}
	l.pieces.Add((n + l.grain - 1) / l.grain)
	for range helpers {
		select {
		case p.wake <- l:
		default: // all are late
		}
	}
	l.work(0)
	l.pieces.Wait()
}

func (l *loop) work(worker int) {
	for {
		lo := int(l.next.Add(int64(l.grain))) - l.grain
		if lo >= l.n {
			return
		}
		l.fn(worker, lo, min(lo+l.grain, l.n))
		l.pieces.Done()
	}
}

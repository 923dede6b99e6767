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
	wake    chan struct{}
	done    sync.WaitGroup // the goroutines' end
	busy    sync.WaitGroup // the end of the current loop
	fn      func(worker, lo, hi int)
	n       int
	grain   int
	next    atomic.Int64
	worker  atomic.Int64
}

func newPool(workers int) *pool {
	p := &pool{workers: workers, worth: parallelWork, wake: make(chan struct{}, workers)}
	for range workers - 1 {
		p.done.Add(1)
		go func() {
			defer p.done.Done()
			for range p.wake {
				p.work(int(p.worker.Add(1)))
				p.busy.Done()
			}
		}()
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
	p.fn, p.n, p.grain = fn, n, max(1, n/(4*(helpers+1)))
	p.next.Store(0)
	p.worker.Store(0)
	p.busy.Add(helpers)
	for range helpers {
		p.wake <- struct{}{}
	}
	p.work(0)
	p.busy.Wait()
	p.fn = nil
}

func (p *pool) work(worker int) {
	for {
		lo := int(p.next.Add(int64(p.grain))) - p.grain
		if lo >= p.n {
			return
		}
		p.fn(worker, lo, min(lo+p.grain, p.n))
	}
}

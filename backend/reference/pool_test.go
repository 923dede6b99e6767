package reference

import (
	"sync/atomic"
	"testing"
)

func TestPoolVisitsEveryIndexOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		p := newPool(workers)
		p.worth = 1
		for n := range 100 {
			seen := make([]atomic.Int32, n)
			held := make([]atomic.Bool, workers)
			p.run(n, 1+n%3, func(worker, lo, hi int) {
				if !held[worker].CompareAndSwap(false, true) {
					t.Errorf("worker %d of %d is two goroutines", worker, workers)
				}
				for i := lo; i < hi; i++ {
					seen[i].Add(1)
				}
				held[worker].Store(false)
			})
			for i := range seen {
				if v := seen[i].Load(); v != 1 {
					t.Fatalf("%d workers, index %d of %d: visited %d times", workers, i, n, v)
				}
			}
		}
		p.close()
	}
}

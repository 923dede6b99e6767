package mock

import (
	"runtime"
	"syscall"
	"time"
)

// early is by how much a nap is cut short, since the kernel is late by about as much; the rest is spent
// looking at the clock.
const early = 80 * time.Microsecond

// nap waits for a short time.
func nap(d time.Duration) {
	end := time.Now().Add(d)
	if d > early {
		t := syscall.NsecToTimespec(int64(d - early))
		_ = syscall.Nanosleep(&t, nil) // a signal ends it sooner: the loop goes on
	}
	for time.Now().Before(end) {
		runtime.Gosched()
	}
}

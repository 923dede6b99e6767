package mock

import "time"

// lateness is by how much timers of the runtime may come too late: Linux' epoll counts in milliseconds.
const lateness = 1500 * time.Microsecond

// SleepUntil waits until t, false when done is closed before. It is precise where the system is: emulated
// steps and links would else be a millisecond longer than asked for, a fiftieth of a step of 40 ms.
func SleepUntil(done <-chan struct{}, t time.Time) bool {
	if d := time.Until(t) - lateness; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-done:
			return false
		case <-timer.C:
		}
	}
	select {
	case <-done:
		return false
	default:
		nap(time.Until(t))
		return true
	}
}

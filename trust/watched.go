package trust

import (
	"os"
	"sync"
	"time"
)

// lookEvery is how long a change of a file may go unnoticed.
const lookEvery = time.Second

// watched is what files hold; they are read again when one has changed. What cannot be read leaves the
// value as it was, and is told of once.
type watched[T any] struct {
	paths []string
	read  func() (T, error)
	told  func(value T, err error) // of each new value, and of each new error

	mu     sync.Mutex
	looked time.Time
	stamps []stamp
	value  T
	failed string
}

// stamp tells one state of a file from another.
type stamp struct {
	size int64
	at   time.Time
}

// open reads the files for the first time.
func (w *watched[T]) open() (err error) {
	w.looked, w.stamps = time.Now(), w.stamp()
	w.value, err = w.read()
	return err
}

func (w *watched[T]) stamp() []stamp {
	out := make([]stamp, len(w.paths))
	for i, p := range w.paths {
		if info, err := os.Stat(p); err == nil {
			out[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

// get returns what the files held at the last look.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.looked) < lookEvery {
		return w.value
	}
	w.looked = now
	stamps := w.stamp() // before reading: a change in between is seen next time
	if same(stamps, w.stamps) {
		return w.value
	}
	v, err := w.read()
	if err != nil { // perhaps half of a new pair is there
		if w.failed != err.Error() {
			w.failed = err.Error()
			w.told(w.value, err)
		}
		return w.value
	}
	w.value, w.stamps, w.failed = v, stamps, ""
	w.told(v, nil)
	return v
}

func same(a, b []stamp) bool {
	for i := range a {
		if a[i].size != b[i].size || !a[i].at.Equal(b[i].at) {
			return false
		}
	}
	return true
}

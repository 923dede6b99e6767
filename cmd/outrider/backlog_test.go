package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

// moody is a writer that hangs, or is full.
type moody struct {
	mu   sync.Mutex
	room int // bytes
	text strings.Builder
}

var errFull = errors.New("no space left")

func (m *moody) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(p), m.room)
	m.room -= n
	m.text.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestBacklog(t *testing.T) {
	m := &moody{room: 11}
	failures, lost := 0, int64(0)
	b := newBacklog(m, func(err error) {
		if failures++; !errors.Is(err, errFull) {
			t.Error(err)
		}
	}, func(n int64) { lost += n })
	for i := range 5 { // two lines have room, and a bit of the third
		fmt.Fprintf(b, "line%d\n", i)
	}
	until(t, "the lines to be tried", func() bool { return len(b.queue) == 0 && b.missed.Load() == 4 })
	m.mu.Lock() // now it hangs
	m.room = 1 << 20
	for i := range backlogLines + 100 {
		fmt.Fprintf(b, "more%d\n", i) // and nobody waits
	}
	m.mu.Unlock()
	fmt.Fprintln(b, "last, if there is room")
	b.close()
	lines := strings.Split(m.text.String(), "\n")
	if lines[0] != "line0" || lines[1] != "line1" && lines[1] != "line" || failures != 1 || lost < 90 {
		t.Errorf("%q..., %d failures, %d lost", lines[:3], failures, lost)
	}
	for _, l := range lines[2 : len(lines)-1] {
		if !strings.HasPrefix(l, "more") && !strings.HasPrefix(l, "last") {
			t.Fatalf("not a whole line: %q", l)
		}
	}
}

// A writer that hangs for good does not keep the program from ending.
func TestBacklogThatHangs(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	b := newBacklog(w, func(error) {}, func(int64) {})
	fmt.Fprintln(b, "nobody reads this")
	b.close()
	_ = w.Close() // its goroutine ends
	<-b.done
}

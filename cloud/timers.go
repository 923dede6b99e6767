package cloud

import (
	"container/heap"

	"github.com/outrider-llm/outrider/speculative"
)

// timers says when the loop has to look at a session again though nothing happens to it.
type timers []timer

type timer struct {
	at speculative.Time
	s  *session
}

// set makes s be looked at at the given time at the latest. An earlier entry makes another one
// needless: the loop then looks and sets the next.
func (t *timers) set(s *session, at speculative.Time) {
	if s.timer != 0 && s.timer <= at {
		return
	}
	s.timer = at
	heap.Push(t, timer{at, s})
}

// due takes out what is due.
func (t *timers) due(now speculative.Time) (due []*session) {
	for len(*t) > 0 && (*t)[0].at <= now {
		due = append(due, heap.Pop(t).(timer).s)
	}
	return due
}

// next is the time of the first entry, 0 when there is none.
func (t timers) next() speculative.Time {
	if len(t) == 0 {
		return 0
	}
	return t[0].at
}

// Len implements heap.Interface.
func (t timers) Len() int { return len(t) }

// Less implements heap.Interface.
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }

// Swap implements heap.Interface.
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*t = old[:len(old)-1]
	return last
}

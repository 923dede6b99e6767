package simulation

import (
	"container/heap"

	"github.com/outrider-llm/outrider/speculative"
)

// event happens at a virtual time; events of one time happen in the order in which they were made.
type event struct {
	at    speculative.Time
	order int
	do    func()
}

type queue struct {
	events []event
	made   int
}

func (q *queue) Len() int { return len(q.events) }
func (q *queue) Less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || (a.at == b.at && a.order < b.order)
}
func (q *queue) Swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }
func (q *queue) Push(x any)    { q.events = append(q.events, x.(event)) }
func (q *queue) Pop() any {
	last := len(q.events) - 1
	e := q.events[last]
	q.events = q.events[:last]
	return e
}

func (q *queue) add(at speculative.Time, do func()) {
	q.made++
	heap.Push(q, event{at, q.made, do})
}

func (q *queue) next() event { return heap.Pop(q).(event) }

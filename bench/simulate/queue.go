package simulate

import "github.com/outrider-llm/outrider/speculative"

// event happens at a virtual time; events of one time happen in the order in which they were made.
type event struct {
	at    speculative.Time
	order uint64
	do    func()
}

func (e *event) before(o *event) bool { return e.at < o.at || (e.at == o.at && e.order < o.order) }

// queue is a binary heap of events.
type queue struct {
	events []event
	made   uint64
}

func (q *queue) add(at speculative.Time, do func()) {
	q.made++
	q.events = append(q.events, event{at, q.made, do})
	h := q.events
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) next() event {
	h := q.events
	top := h[0]
	last := len(h) - 1
	h[0], h[last] = h[last], event{}
	q.events, h = h[:last], h[:last]
	for i := 0; ; {
		least := i
		for _, k := range [2]int{2*i + 1, 2*i + 2} {
			if k < last && h[k].before(&h[least]) {
				least = k
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

package cloud

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/outrider-llm/outrider/speculative"
)

// tenant is whose sessions are, with those of them that are ready.
type tenant struct {
	speculative.Tenant
	sessions        int // that are known
	decode, prompts readyQueue
}

// readyQueue holds the sessions that are ready, the most urgent first. Those that have changed since,
// or have gone, are found out when they are taken.
type readyQueue []*session

// Len implements heap.Interface.
func (q readyQueue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q readyQueue) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].order < q[j].order
}

// Swap implements heap.Interface.
func (q readyQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *readyQueue) Push(x any) { *q = append(*q, x.(*session)) }

// Pop implements heap.Interface.
func (q *readyQueue) Pop() any {
	old := *q
	last := len(old) - 1
	s := old[last]
	old[last] = nil
	*q = old[:last]
	return s
}

// tenantOf returns the tenant of that name, for one more session.
func (l *loop) tenantOf(name string) *tenant {
	t := l.tenants[name]
	if t == nil {
		t = &tenant{Tenant: speculative.Tenant{Name: name, Weight: l.c.Weights[name]}}
		l.tenants[name] = t
	}
	t.sessions++
	return t
}

// leaveTenant forgets tenants without sessions now and then: those whose account is even, and all when
// there are many of them.
func (l *loop) leaveTenant(t *tenant) {
	if t.sessions--; t.sessions > 0 {
		return
	}
	if l.gone++; 2*l.gone < len(l.tenants) {
		return
	}
	l.gone = 0
	many := len(l.tenants) > 2*len(l.sessions)+64
	for name, t := range l.tenants {
		if t.sessions == 0 && (many || l.fair.Settled(&t.Tenant)) && len(t.decode)+len(t.prompts) == 0 {
			delete(l.tenants, name)
		}
	}
}

// enqueue lists a session that is ready. Those behind their pace go in the order in which they were
// served, before all that are not yet.
func (l *loop) enqueue(s *session, now speculative.Time) {
	s.marked = true
	q := &s.tenant.decode
	if s.due = s.served; s.offer.Prefill > 0 {
		q = &s.tenant.prompts
	} else {
		s.due = max(s.due, l.behindAt(s, now))
	}
	heap.Push(q, s)
}

// candidates takes out the most urgent of those that are ready, twice as many as a step has room for
// in all, so that a step's cost does not grow with the number of sessions. Where tenants compete, none
// crowds the others out.
func (l *loop) candidates(now speculative.Time, ratio float64) (bids []speculative.Bid, who []*session) {
	room := 2 * l.c.StepSequences
	bids, who = l.bidBuffer[:0], l.whoBuffer[:0]
	take := func(q *readyQueue, n int) {
		for n > 0 && len(*q) > 0 {
			s := heap.Pop(q).(*session)
			if !s.runnable() || (!s.fresh && !l.evaluate(s, now, ratio)) {
				s.marked, s.readyAt = false, 0
				continue
			}
			bids = append(bids, speculative.Bid{Offer: s.offer, Since: s.served, Behind: l.behind(s, now), Tenant: &s.tenant.Tenant})
			who = append(who, s)
			n--
		}
	}
	for _, queue := range []func(*tenant) *readyQueue{
		func(t *tenant) *readyQueue { return &t.decode }, func(t *tenant) *readyQueue { return &t.prompts }} {
		active := l.active[:0]
		for _, t := range l.tenants {
			if len(*queue(t)) > 0 {
				active = append(active, t)
			}
		}
		many := len(active) > room
		slices.SortFunc(active, func(a, b *tenant) int {
			if by := cmp.Compare(len(*queue(a)), len(*queue(b))); by != 0 && !many {
				return by // what the small ones leave is the large ones'
			}
			return cmp.Or(speculative.Less(&a.Tenant, &b.Tenant), cmp.Compare(a.Name, b.Name))
		})
		left := room
		for i, t := range active {
			had := len(bids)
			take(queue(t), max(1, left/(len(active)-i)))
			if left -= len(bids) - had; left <= 0 {
				break
			}
		}
		clear(active)
		l.active = active
	}
	l.bidBuffer, l.whoBuffer = bids, who
	return bids, who
}

// putBack lists the candidates again that got nothing.
func (l *loop) putBack(who []*session, now speculative.Time) {
	for i, s := range who {
		if !s.busy {
			l.enqueue(s, now)
		}
		who[i] = nil
	}
}

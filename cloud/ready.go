package cloud

import (
	"cmp"
	"slices"

	"github.com/outrider-llm/outrider/speculative"
)

// tenant is whose sessions are, with those of them that are ready.
type tenant struct {
	speculative.Tenant
	sessions        int // that are known
	decode, prompts readyQueue
}

// readyQueue is a heap of the sessions that are ready, the most urgent first. Those that have changed
// since, or have gone, are found out when they are taken. The keys lie in it: sessions are all over
// memory.
type readyQueue []entry

type entry struct {
	due   speculative.Time
	order uint64
	s     *session
}

func (e *entry) before(o *entry) bool { return e.due < o.due || e.due == o.due && e.order < o.order }

func (q *readyQueue) push(e entry) {
	h := append(*q, e)
	*q = h
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i], i = h[up], up
	}
	h[i] = e
}

func (q *readyQueue) pop() *session {
	h := *q
	first, last := h[0].s, len(h)-1
	e := h[last]
	h[last] = entry{}
	h = h[:last]
	*q = h
	for i := 0; last > 0; {
		least := &e
		at := i
		for k := 4*i + 1; k < min(4*i+5, last); k++ {
			if h[k].before(least) {
				least, at = &h[k], k
			}
		}
		h[i] = *least
		if at == i {
			break
		}
		i = at
	}
	return first
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
	due := s.served
	if s.offer.Prefill > 0 {
		q = &s.tenant.prompts
	} else {
		due = max(due, l.behindAt(s, now))
	}
	q.push(entry{due, s.order, s})
}

// candidates takes out the most urgent of those that are ready, a quarter more than a step has room for, so that a step's cost does not grow with the number of sessions. Where tenants compete, none
// crowds the others out.
func (l *loop) candidates(now speculative.Time, ratio float64) (bids []speculative.Bid, who []*session) {
	room := l.c.StepSequences * 5 / 4
	bids, who = l.bidBuffer[:0], l.whoBuffer[:0]
	take := func(q *readyQueue, n int) {
		for n > 0 && len(*q) > 0 {
			s := q.pop()
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

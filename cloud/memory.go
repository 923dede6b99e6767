package cloud

import (
	"cmp"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// KV memory. A model that has no room for a segment says so (ErrNoMemory); then rows are evicted:
// those of finished sessions first, then of broken ones, then of those that wait for their edge's
// Ack, then of sessions that are younger. Who is evicted or finds nothing to evict is run again from
// 0 when there is room.
// Blocked sessions wait in the order of their age and are let go one by one: the next one only
// when the one before found room. So the oldest session that can run always gets on, and nobody
// keeps trying in vain.

// makeRoom serves the sessions that found no room in the step just done.
func (l *loop) makeRoom(needy []share) {
	if len(needy) == 0 {
		return
	}
	slices.SortFunc(needy, func(a, b share) int { return cmp.Compare(a.s.order, b.s.order) })
	rows, sequences := 0, len(l.free) // freed, not yet spoken for
	if sequences > 0 {
		rows = l.c.StepPositions // their number is not known any more: let one step try
	}
	for _, sh := range needy {
		s, want, first := sh.s, len(sh.seg.Tokens), 0
		if s.blocked {
			continue // evicted for an older one
		}
		if s.v.Held() == 0 {
			first = 1
		}
		for (rows < want || sequences < first) && l.prefixes.seqs > 0 {
			l.m.evictions.Inc()
			rows, sequences = rows+max(1, l.evictPrefix()), sequences+1
		}
		if !sh.seg.Prefill && want > 1 && rows < want {
			s.narrow = true // nobody is evicted for the sake of drafts
			continue
		}
		for rows < want || sequences < first {
			v := l.victim(s)
			if v == nil {
				break
			}
			l.m.evictions.Inc()
			rows, sequences = rows+max(1, v.v.Held()), sequences+1
			if l.releaseRows(v); v.runnable() && v.parkedAt == 0 {
				l.block(v) // else it would compete for the rows that it has just lost
			}
		}
		if rows > 0 && sequences >= first {
			rows, sequences = max(0, rows-want), sequences-first
			s.probing = true // more may have been freed than it needs
			continue
		}
		if len(l.holders) <= 1 && len(l.free) == 0 && !s.over {
			s.end(status.Error(codes.ResourceExhausted, "the target's KV memory is too small for this session alone: shorten the prompt"))
			continue
		}
		l.block(s)
	}
}

// victim returns the session whose rows s may have, nil when there is none.
func (l *loop) victim(s *session) (victim *session) {
	for o := range l.holders {
		if o == s || (o.rank() == active && o.order < s.order) {
			continue
		}
		if victim == nil || evictBefore(o, victim) {
			victim = o
		}
	}
	return victim
}

// rank orders sessions by what an eviction costs: a broken session may never come back, a parked one
// waits anyway.
func (s *session) rank() int {
	switch {
	case !s.connected || s.over:
		return gone
	case s.parkedAt != 0:
		return parked
	}
	return active
}

const (
	gone = iota
	parked
	active
)

func evictBefore(a, b *session) bool {
	if a.rank() != b.rank() {
		return a.rank() < b.rank()
	}
	if a.rank() == gone {
		return a.idleSince < b.idleSince
	}
	return a.order > b.order
}

// releaseRows gives a session's KV rows back; the session may go on and is then run again from 0.
func (l *loop) releaseRows(s *session) {
	if s.seq != 0 {
		l.free = append(l.free, s.seq)
		delete(l.holders, s)
	}
	s.seq, s.fresh, s.ready = 0, false, false
	s.v.Lost()
}

// move hands the rows of an older stream to the one that took over.
func (l *loop) move(from, to *session) {
	if from.seq == 0 {
		return
	}
	delete(l.holders, from)
	l.holders[to] = struct{}{}
	to.seq, to.ready, from.seq = from.seq, from.ready, 0
}

// block makes a session wait for memory; what it held helps others.
func (l *loop) block(s *session) {
	s.blocked, s.probing, s.narrow = true, false, false
	l.releaseRows(s)
	i, _ := slices.BinarySearchFunc(l.blocked, s.order, func(o *session, order uint64) int { return cmp.Compare(o.order, order) })
	l.blocked = slices.Insert(l.blocked, i, s)
}

// unblock lets the oldest blocked session try again.
func (l *loop) unblock() {
	for len(l.blocked) > 0 {
		s := l.blocked[0]
		l.blocked[0] = nil
		l.blocked = l.blocked[1:]
		if !s.blocked || !s.connected || s.over {
			continue
		}
		s.blocked, s.probing = false, true
		l.mark(s)
		return
	}
}

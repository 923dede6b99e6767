package cloud

import (
	"sync"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// inbox holds messages that came while the loop was locked: thousands of receivers that queue up for
// its lock would hold the next step up. Whoever has the lock next hands them in, in order.
type inbox struct {
	mu    sync.Mutex
	mail  []mail
	spare []mail // its other buffer, guarded by the loop's lock
}

type mail struct {
	s *session
	m *outriderv1.DecodeRequest
}

// maxMail bounds a session's messages in the inbox; its receiver then waits for the lock.
const maxMail = 8

// put adds a message and says whether the session may have more of them there.
func (b *inbox) put(s *session, m *outriderv1.DecodeRequest) (room bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mail = append(b.mail, mail{s, m})
	s.mail++
	return s.mail < maxMail
}

// collect hands in what is there; l.mu is held.
func (l *loop) collect() {
	l.in.mu.Lock()
	all := l.in.mail
	l.in.mail = l.in.spare[:0]
	for _, m := range all {
		m.s.mail = 0
	}
	l.in.mu.Unlock()
	for _, m := range all {
		l.handle(m.s, m.m, nil)
	}
	clear(all)
	l.in.spare = all
}

// deliver takes one message, or the end of the receiving side. It is false when nothing more is to be
// read.
func (l *loop) deliver(s *session, m *outriderv1.DecodeRequest, err error) (more bool) {
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.collect()
		l.handle(s, nil, err)
		return false
	}
	switch room := l.in.put(s, m); {
	case !room:
		l.mu.Lock()
	case !l.mu.TryLock():
		l.poke()
		return !s.out.ended()
	}
	defer l.mu.Unlock()
	l.collect()
	return !s.over
}

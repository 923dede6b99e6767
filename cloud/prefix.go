package cloud

import (
	"container/list"
	"crypto/subtle"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// Prefixes. The log of a finished session is kept under the key that its Open named, with the rows
// that the model holds of it, so that the next turn of a conversation sends and runs only what is
// new. Nothing is ever looked for under another key than the request's own. Rows go first when
// memory is short, and with the model's process; the log then still saves sending it.

// prefixKey is the secret of one user of one edge, within a tenant.
type prefixKey struct {
	tenant string
	key    [prefixKeyBytes]byte
	set    bool // false: nothing is kept or looked for
}

// prefix is a finished log.
type prefix struct {
	key prefixKey
	speculative.Prefix
	seq backend.Sequence // 0: the model holds no rows of it
	at  speculative.Time // when it was finished
	el  *list.Element
}

// prefixes are one target's.
type prefixes struct {
	byKey  map[prefixKey][]*prefix // the newest last
	age    list.List               // of *prefix, the oldest first
	tokens int                     // of all logs
	rows   int                     // that the model holds of them
	seqs   int                     // sequences with rows
}

// Of one key, so that one busy user does not push out everybody else's.
const maxKeyPrefixes = 8

// Row memory that finished sessions may hold, as a share of all: the rest is for those that go on.
const prefixShare = 2

func (l *loop) keeps() bool { return l.c.Prefixes > 0 }

// keep takes the log and the rows of a session that has finished and of which no step is under way.
func (l *loop) keep(s *session) {
	if !s.key.set || s.kept || s.busy || s.v.Finished() == speculative.NotFinished || !l.keeps() {
		return
	}
	s.kept = true
	p := &prefix{key: s.key, Prefix: s.v.Prefix(), at: l.now()}
	if len(p.Log) > l.c.PrefixTokens {
		return // releaseRows frees its rows
	}
	if p.Held > 0 && s.seq != 0 {
		p.seq, s.seq = s.seq, 0
		delete(l.holders, s)
		s.v.Lost() // as far as this session is concerned
		l.prefixes.rows, l.prefixes.seqs = l.prefixes.rows+p.Held, l.prefixes.seqs+1
	} else {
		p.Held, p.Keep = 0, nil
	}
	l.prefixes.tokens += len(p.Log)
	p.el = l.prefixes.age.PushBack(p)
	of := l.prefixes.byKey[p.key]
	for _, o := range slices.Clone(of) { // what it continues, and what nobody asks for any more
		if o.seq == 0 && speculative.Common(o.Log, p.Log) == len(o.Log) {
			l.forget(o)
		}
	}
	if of = l.prefixes.byKey[p.key]; len(of) >= maxKeyPrefixes {
		l.forget(of[0])
	}
	l.prefixes.byKey[p.key] = append(l.prefixes.byKey[p.key], p)
	l.trim()
	l.unblock() // its rows are up for eviction now
	l.poke()    // and its expiry is a date
}

// trim keeps all bounds.
func (l *loop) trim() {
	ps := &l.prefixes
	for ps.age.Len() > l.c.Prefixes || ps.tokens > l.c.PrefixTokens {
		l.forget(ps.age.Front().Value.(*prefix))
	}
	for ps.seqs > 0 && (ps.seqs > max(1, l.info.Sequences/prefixShare) || ps.rows > l.info.KVTokens/prefixShare) {
		l.evictPrefix()
	}
}

// evictPrefix frees the rows of the log that was finished first, and returns how many they were; 0:
// there are none left.
func (l *loop) evictPrefix() (rows int) {
	for e := l.prefixes.age.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*prefix); p.seq != 0 {
			rows = p.Held
			l.free = append(l.free, p.seq)
			l.strip(p)
			return rows
		}
	}
	return 0
}

// strip notes that a log's rows are not its any more.
func (l *loop) strip(p *prefix) {
	if p.seq != 0 {
		l.prefixes.rows, l.prefixes.seqs = l.prefixes.rows-p.Held, l.prefixes.seqs-1
		p.seq, p.Held, p.Keep = 0, 0, nil
	}
}

// forget drops a log.
func (l *loop) forget(p *prefix) {
	if p.seq != 0 {
		l.free = append(l.free, p.seq)
		l.strip(p)
	}
	l.prefixes.tokens -= len(p.Log)
	l.prefixes.age.Remove(p.el)
	of := slices.DeleteFunc(l.prefixes.byKey[p.key], func(o *prefix) bool { return o == p })
	if l.prefixes.byKey[p.key] = of; len(of) == 0 {
		delete(l.prefixes.byKey, p.key)
	}
}

// stripPrefixes notes that the model holds nothing any more.
func (l *loop) stripPrefixes() {
	for e := l.prefixes.age.Front(); e != nil; e = e.Next() {
		l.strip(e.Value.(*prefix))
	}
}

// expirePrefixes drops what is too old.
func (l *loop) expirePrefixes(now speculative.Time) {
	for e := l.prefixes.age.Front(); e != nil; e = l.prefixes.age.Front() {
		p := e.Value.(*prefix)
		if now-p.at < l.c.PrefixTTL {
			return
		}
		l.forget(p)
	}
}

// inherit gives a new session the rows of the finished log that saves it most. The rows cannot be
// shared, so a log of which less than half would be used keeps them: its own conversation may go on.
func (l *loop) inherit(s *session) {
	if !s.key.set || s.seq != 0 || s.v.Finished() != speculative.NotFinished {
		return
	}
	var best *prefix
	most := 0
	for _, p := range l.prefixes.byKey[s.key] {
		n := min(p.Held, speculative.Common(p.Log, s.v.Log()), len(s.v.Log())-1)
		if n > most && 2*n >= p.Held {
			best, most = p, n
		}
	}
	if best == nil {
		l.m.prefixMisses.Inc()
		return
	}
	s.v.Inherit(best.Prefix)
	s.seq = best.seq
	l.holders[s] = struct{}{}
	l.strip(best)
	l.m.prefixHits.Inc()
	l.m.heldRows.Add(float64(most))
}

// resolve completes a log whose beginning is named only. It hashes outside the mutex: logs only
// grow, so what was seen of them stays.
func (l *loop) resolve(r *request) error {
	if r.prefix == 0 {
		return nil
	}
	for _, log := range l.logs(r) {
		if len(log) < r.prefix {
			continue
		}
		h := speculative.PrefixHash(r.key.key[:], log[:r.prefix])
		if subtle.ConstantTimeCompare(h[:], r.prefixHash[:]) == 1 {
			r.tokens = slices.Concat(log[:r.prefix], r.tokens)
			return nil
		}
	}
	l.m.prefixUnknown.Inc()
	return errPrefixUnknown()
}

// logs returns those that a request may name: of its key, and of its own session when its stream
// broke.
func (l *loop) logs(r *request) (logs [][]backend.Token) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sessions[r.id]; s != nil && s.key.set && s.key == r.key {
		logs = append(logs, s.v.Log())
	}
	for _, p := range l.prefixes.byKey[r.key] {
		logs = append(logs, p.Log)
	}
	return logs
}

// keepMillis is what a session is told: for how long its log can be named after its end.
func (l *loop) keepMillis(s *session) uint32 {
	if !s.key.set || !l.keeps() {
		return 0
	}
	return uint32(min(l.c.PrefixTTL.Milliseconds(), maxUint31))
}

// errPrefixUnknown tells an edge to send the whole log.
func errPrefixUnknown() error {
	st := status.New(codes.FailedPrecondition, "the named prefix is not kept here: open again with the whole log")
	if d, err := st.WithDetails(&errdetails.ErrorInfo{Reason: "PREFIX_UNKNOWN", Domain: "outrider"}); err == nil {
		st = d
	}
	return st.Err()
}

// Prefixes counts the finished logs that are kept, and the sequences and rows that the models hold
// of them.
func (s *Server) Prefixes() (logs, sequences, rows int) {
	s.each(func(l *loop) {
		l.mu.Lock()
		defer l.mu.Unlock()
		logs, sequences, rows = logs+l.prefixes.age.Len(), sequences+l.prefixes.seqs, rows+l.prefixes.rows
	})
	return logs, sequences, rows
}

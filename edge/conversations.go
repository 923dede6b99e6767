package edge

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// owner says whose a conversation is and what its tokens mean.
type owner struct{ user, model, print string }

// conversation is the log of a finished generation. A request whose prompt begins like it sends only
// the rest, and the draft goes on from the rows that it still holds.
type conversation struct {
	owner
	log   []Token
	until time.Time  // the cloud keeps it, too; zero: it does not
	rows  *draftRows // nil: the draft holds none of it
}

// draftRows are a sequence of the draft between two generations.
type draftRows struct {
	ready chan struct{} // closed once the drafter before has left it
	m     backend.Model // that holds them; set before ready is closed, as what follows
	seq   backend.Sequence
	held  []Token // whose rows the draft holds
}

// conversations keeps what was said last, in memory only.
type conversations struct {
	secret [32]byte // of this edge; the keys that clouds see are made of it
	most   int      // conversations; 0: none is kept
	seqs   int      // of the draft
	rows   int

	mu  sync.Mutex
	all []*conversation // the oldest first
}

// Bounds and defaults.
const (
	defaultConversations = 64
	maxKeptTokens        = 1 << 20 // of all conversations
	minNamed             = 16      // tokens; less costs more to name than to send
	draftShare           = 2       // finished generations may hold this part of the draft's memory
)

func newConversations(c *Config) *conversations {
	k := &conversations{most: max(0, c.Conversations)}
	_, _ = rand.Read(k.secret[:]) // never fails
	if c.Draft != nil {
		i := c.Draft.Info()
		k.seqs, k.rows = i.Sequences/draftShare, i.KVTokens/draftShare
	}
	return k
}

// key is a user's secret, by which the cloud tells whose prefixes a session may use; nil: none.
func (k *conversations) key(user string) []byte {
	if k.most == 0 {
		return nil
	}
	h := hmac.New(sha256.New, k.secret[:])
	_, _ = h.Write([]byte(user)) // never fails
	return h.Sum(nil)[:16]
}

// named is how many leading tokens of a log the cloud knows from an earlier generation, as far as
// this edge can tell.
func (k *conversations) named(o owner, log []Token) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, now := 0, time.Now()
	for _, c := range k.all {
		if c.owner == o && now.Before(c.until) {
			n = max(n, speculative.Common(c.log, log))
		}
	}
	if n < minNamed {
		return 0
	}
	return n
}

// unknown notes that the cloud did not know a prefix.
func (k *conversations) unknown(o owner, prefix []Token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.all {
		if c.owner == o && speculative.Common(c.log, prefix) == len(prefix) {
			c.until = time.Time{}
		}
	}
}

// take hands out the rows that serve a prompt best. Rows cannot be shared: those of which less than
// half would be used stay with their own conversation.
func (k *conversations) take(o owner, prompt []Token) *draftRows {
	k.mu.Lock()
	defer k.mu.Unlock()
	var best *conversation
	most := 0
	for _, c := range k.all {
		if n := speculative.Common(c.log, prompt); c.owner == o && c.rows != nil && n > most && 2*n >= len(c.log) {
			best, most = c, n
		}
	}
	if best == nil {
		return nil
	}
	r := best.rows
	best.rows = nil
	return r
}

// put keeps a finished generation. It returns the rows that have to be released for it.
func (k *conversations) put(c *conversation) (free []*draftRows) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = slices.DeleteFunc(k.all, func(o *conversation) bool { // what it continues
		return o.owner == c.owner && o.rows == nil && speculative.Common(o.log, c.log) == len(o.log)
	})
	k.all = append(k.all, c)
	tokens := 0
	for i := len(k.all) - 1; i >= 0; i-- {
		if tokens += len(k.all[i].log); tokens > maxKeptTokens || len(k.all)-i > k.most {
			for _, o := range k.all[:i+1] {
				if o.rows != nil {
					free = append(free, o.rows)
				}
			}
			k.all = slices.Delete(k.all, 0, i+1)
			break
		}
	}
	seqs, rows := 0, 0
	for _, o := range slices.Backward(k.all) {
		if o.rows == nil {
			continue
		}
		if seqs, rows = seqs+1, rows+len(o.log); seqs > max(1, k.seqs) || rows > k.rows {
			free = append(free, o.rows)
			o.rows = nil
		}
	}
	return free
}

// spare gives up the rows that were kept first, nil: there are none that nobody works on.
func (k *conversations) spare() *draftRows {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.all {
		if c.rows == nil {
			continue
		}
		select {
		case <-c.rows.ready:
			r := c.rows
			c.rows = nil
			return r
		default: // waiting could be for one that waits itself
		}
	}
	return nil
}

// held counts the sequences of the draft that are kept.
func (k *conversations) held() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.all {
		if c.rows != nil {
			n++
		}
	}
	return n
}

// keep remembers a session that has ended: its log, until the cloud forgets it, and the draft's rows.
func (s *session) keep() {
	if s.key == nil {
		return
	}
	c := &conversation{owner: s.owner, log: s.p.Log()}
	if s.keepFor > 0 && s.alone == nil { // a little less, for the way
		c.until = time.Now().Add(s.keepFor * 9 / 10)
	}
	if s.d != nil && (s.told > 0 || s.d.from != nil) {
		s.d.rows = &draftRows{ready: make(chan struct{})}
		c.rows = s.d.rows
	}
	for _, r := range s.e.conversations.put(c) {
		s.e.wg.Go(func() { s.e.releaseRows(r) }) // this session still counts there
	}
}

// releaseRows frees kept rows once nobody works on them any more.
func (e *Edge) releaseRows(r *draftRows) {
	<-r.ready
	if r.held != nil {
		freeSequence(e.hard, r.m, r.seq, e.c.Logger)
	}
}

// spareRows frees the rows that were kept first; false: there are none.
func (e *Edge) spareRows() bool {
	r := e.conversations.spare()
	if r == nil {
		return false
	}
	e.releaseRows(r)
	return true
}

// Package suffix proposes what a user's earlier answers said: it keeps the answers that a target has committed
// and, where the end of the text stood in one of them, says what followed and how often (after SuffixDecoding,
// arXiv 2411.04975; here over hashes of the last tokens, within bounds).
//
// It holds: nothing that was learned under one Key is ever proposed under another; a guess depends on the text
// and the partition only; the store stays within its bounds.
package suffix

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/drafter"
	"github.com/outrider-llm/outrider/speculative"
)

// Token is an id in the target's vocabulary.
type Token = speculative.Token

// Key says whose text it is and who may be sent it.
type Key struct {
	User       string // empty: the device's one user
	Label      string // what such text may be sent to; see the caller
	Vocabulary string // fingerprint: what the tokens mean
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.User, o.User), cmp.Compare(k.Label, o.Label), cmp.Compare(k.Vocabulary, o.Vocabulary))
}

// Bounds of a store, in tokens; the oldest go first. And the least answer that is kept.
const (
	MaxPart   = 1 << 16
	MaxTokens = 1 << 20
	maxParts  = 1024
	least     = 8
	maxName   = 1024 // bytes of each part of a Key
)

// Store keeps the partitions. Safe for concurrent use.
type Store struct {
	path string // empty: in memory only

	mu     sync.Mutex
	parts  map[Key]*part
	dirty  bool
	synced map[Key]bool // that the file had when it was read or written last
	seen   stamp        // of the file then
}

// New returns an empty store in memory.
func New() *Store { return &Store{parts: map[Key]*part{}, synced: map[Key]bool{}} }

// Learn takes an answer that a target has committed.
func (s *Store) Learn(k Key, answer []Token, now time.Time) {
	if len(answer) < least || max(len(k.User), len(k.Label), len(k.Vocabulary)) > maxName || slices.Min(answer) < 0 {
		return
	}
	answer = answer[max(0, len(answer)-(MaxPart-1)):]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sync()
	var text []Token
	if p := s.parts[k]; p != nil {
		text = p.text
	}
	if over := len(text) + len(answer) + 1 - MaxPart; over > 0 {
		over += slices.Index(text[over-1:], gap) // whole answers go: every text ends with gap
		text = text[over:]
	}
	text = append(append(slices.Clone(text), answer...), gap)
	s.parts[k] = newPart(text, now.Unix())
	s.dirty = true
	s.evict(k)
}

// evict drops the partitions that were used longest ago, but not k.
func (s *Store) evict(k Key) {
	total := 0
	for _, p := range s.parts {
		total += len(p.text)
	}
	for total > MaxTokens || len(s.parts) > maxParts {
		var oldest *Key
		for o, p := range s.parts {
			if o != k && (oldest == nil || p.used < s.parts[*oldest].used || p.used == s.parts[*oldest].used && o.compare(*oldest) < 0) {
				oldest = &o
			}
		}
		if oldest == nil {
			return
		}
		total -= len(s.parts[*oldest].text)
		delete(s.parts, *oldest)
	}
}

// Info tells of one partition.
type Info struct {
	Key
	Tokens, Answers int
	Used            time.Time // last learned
}

// List returns the partitions in order.
func (s *Store) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sync()
	out := []Info{}
	for k, p := range s.parts {
		answers := 0
		for _, t := range p.text {
			if t == gap {
				answers++
			}
		}
		out = append(out, Info{k, len(p.text) - answers, answers, time.Unix(p.used, 0)})
	}
	slices.SortFunc(out, func(a, b Info) int { return a.compare(b.Key) })
	return out
}

// Forget drops what it has of a user and returns how many partitions that were.
func (s *Store) Forget(user string) (n int) {
	return s.forget(func(k Key) bool { return k.User == user })
}

// ForgetAll drops everything.
func (s *Store) ForgetAll() (n int) { return s.forget(func(Key) bool { return true }) }

func (s *Store) forget(which func(Key) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sync()
	for k := range s.parts {
		if which(k) {
			delete(s.parts, k)
			n++
		}
	}
	s.dirty = s.dirty || n > 0
	return n
}

// Follow returns what proposes to one session.
func (s *Store) Follow(k Key) *Follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sync()
	return &Follower{part: s.parts[k]}
}

// Follower proposes to one session and measures how often it is right. Owned by one goroutine.
type Follower struct {
	part  *part
	rates [lengths * shares]drafter.Rate
}

// Guess is a token that may come next.
type Guess struct {
	Token      Token
	Confidence float64 // share of such guesses that were right
	class      int
}

// Guess returns the likeliest token after a text, of which the last maxMatch tokens matter; false: nothing is
// known of it.
func (f *Follower) Guess(full []Token) (Guess, bool) {
	if f.part == nil {
		return Guess{}, false
	}
	t, share, length := f.part.find(full)
	if length == 0 {
		return Guess{}, false
	}
	c := classOf(length, share)
	return Guess{Token: t, Confidence: f.rates[c].Of(share * priors[c/shares]), class: c}, true
}

// Observe learns how often it is right: t was committed after full.
func (f *Follower) Observe(full []Token, t Token) {
	if g, ok := f.Guess(full); ok {
		f.rates[g.class].Observe(g.Token == t)
	}
}

// Classes of guesses: by the length of the match and by how much of the weight agrees.
const (
	lengths = 5
	shares  = 3
)

// priors are the rates to begin with where all weight agrees.
var priors = [lengths]float64{0.3, 0.55, 0.7, 0.8, 0.9}

func classOf(length int, share float64) int {
	c := 4
	for i, below := range [...]int{3, 5, 8, 16} {
		if length < below {
			c = i
			break
		}
	}
	switch c *= shares; {
	case share >= 0.9:
		return c + 2
	case share >= 0.5:
		return c + 1
	}
	return c
}

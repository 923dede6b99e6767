package suffix

import "github.com/outrider-llm/outrider/drafter"

// Lengths of what is hashed and compared, and bounds on a search.
const (
	shortKey = 2
	longKey  = 6
	maxMatch = 24 // a longer match is not told apart
	maxLinks = 24 // places that are looked at, the newest first
)

// gap stands between two answers; no token is negative.
const gap Token = -1

// part is one partition's text with an index of where its tokens stand. It never changes, so that many may
// read it; it takes about 28 bytes a token.
type part struct {
	text        []Token // answers, the oldest first, with gap behind each
	used        int64   // Unix seconds
	short, long chains
}

// chains link the places with equal hashes of the tokens before them, the newest first. 0: none.
type chains struct{ head, prev []int32 }

func newPart(text []Token, used int64) *part {
	p := &part{text: text, used: used}
	size := 64
	for size < 2*len(text) {
		size *= 2
	}
	for key, c := range map[int]*chains{shortKey: &p.short, longKey: &p.long} {
		*c = chains{head: make([]int32, size), prev: make([]int32, len(text))}
		for end := key; end < len(text); end++ {
			if text[end] == gap {
				continue
			}
			slot := &c.head[drafter.Hash(text[end-key:end])&uint64(size-1)]
			c.prev[end], *slot = *slot, int32(end)
		}
	}
	return p
}

// find says what followed the end of full: the token with the most weight, its share of all weight, and the
// length of its longest match, 0: none. Long matches weigh more.
func (p *part) find(full []Token) (t Token, share float64, length int) {
	for _, k := range [...]struct {
		key int
		c   *chains
	}{{longKey, &p.long}, {shortKey, &p.short}} {
		if t, share, length = p.vote(full, k.key, k.c); length > 0 {
			return t, share, length
		}
	}
	return 0, 0, 0
}

type vote struct {
	t      Token
	weight float64
	length int
}

func (p *part) vote(full []Token, key int, c *chains) (t Token, share float64, length int) {
	if len(full) < key {
		return 0, 0, 0
	}
	var room [maxLinks]vote
	votes, all, links := room[:0], 0.0, 0
	for e := int(c.head[drafter.Hash(full[len(full)-key:])&uint64(len(c.head)-1)]); e > 0 && links < maxLinks; e = int(c.prev[e]) {
		links++
		n := match(p.text[:e], full)
		if n < key {
			continue
		}
		w := float64(n * n)
		all += w
		at := -1
		for i := range votes {
			if votes[i].t == p.text[e] {
				at = i
			}
		}
		if at < 0 {
			votes, at = append(votes, vote{t: p.text[e]}), len(votes)
		}
		votes[at].weight += w
		votes[at].length = max(votes[at].length, n)
	}
	best := vote{}
	for _, v := range votes {
		if v.weight > best.weight {
			best = v
		}
	}
	if best.length == 0 {
		return 0, 0, 0
	}
	return best.t, best.weight / all, best.length
}

// match counts the equal tokens at the ends of a and b, up to maxMatch and not over a gap.
func match(a, b []Token) int {
	n := 0
	for n < maxMatch && n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] && a[len(a)-1-n] != gap {
		n++
	}
	return n
}

package lookup

import "github.com/outrider-llm/outrider/drafter"

// index finds where the end of a text stood before, by chains of equal hashes of its last tokens, as
// LZ77 does. It takes 16 bytes a token.
type index struct {
	done        int // ends that are indexed
	short, long chains
}

// Lengths of what is hashed: matches of less than shortKey tokens say little.
const (
	shortKey = 2
	longKey  = 6
	maxMatch = 24 // a longer match is not told apart
	maxLinks = 12 // candidates that are looked at
)

// chains link the ends of equal hashes, the newest first. 0: none.
type chains struct{ head, prev []int32 }

func (c *chains) slot(key []Token) *int32 { return &c.head[drafter.Hash(key)&uint64(len(c.head)-1)] }

func (c *chains) add(tokens []Token, end, key int) {
	for len(c.prev) <= end {
		c.prev = append(c.prev, 0)
	}
	if end < key {
		return
	}
	s := c.slot(tokens[end-key : end])
	c.prev[end], *s = *s, int32(end)
}

// add indexes the ends of text that are new.
func (x *index) add(text []Token) {
	if len(text) > len(x.short.head) {
		size := 256
		for size < 2*len(text) {
			size *= 2
		}
		x.done = 0
		x.short, x.long = chains{head: make([]int32, size)}, chains{head: make([]int32, size)}
	}
	for end := x.done + 1; end <= len(text); end++ {
		x.short.add(text, end, shortKey)
		x.long.add(text, end, longKey)
		x.done = end
	}
}

// last finds the longest earlier match of the end of full, whose beginning is the indexed text; of
// equal ones the newest. length 0: none.
func (x *index) last(full []Token) (end, length int) {
	return x.find(full, full, len(full)-1)
}

// find is last for a text of its own; the match ends at most at limit.
func (x *index) find(text, full []Token, limit int) (end, length int) {
	if end, length = x.long.find(text, full, limit, longKey); length == 0 {
		end, length = x.short.find(text, full, limit, shortKey)
	}
	return end, length
}

func (c *chains) find(text, full []Token, limit, key int) (end, length int) {
	if len(full) < key || len(c.head) == 0 {
		return 0, 0
	}
	links := 0
	for e := int(*c.slot(full[len(full)-key:])); e > 0 && links < maxLinks; e = int(c.prev[e]) {
		links++
		if e > limit {
			continue
		}
		if n := match(text[:e], full); n >= key && n > length {
			end, length = e, n
		}
		if length == maxMatch {
			break
		}
	}
	return end, length
}

// match counts the equal tokens at the ends of a and b, up to maxMatch.
func match(a, b []Token) int {
	n := 0
	for n < maxMatch && n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

package reference

import (
	"slices"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// pageRows is how many KV rows are handed out at a time.
const pageRows = 16

// page holds pageRows rows of every layer: [layer][key, value][head][row][headDim].
type page []float32

// pages is the KV memory of all sequences. Memory is taken from the system when first needed.
type pages struct {
	free      []page
	made, all int
	floats    int // per page
}

func (p *pages) available() int { return len(p.free) + p.all - p.made }

// take returns a page with unspecified content; there must be one available.
func (p *pages) take() page {
	if n := len(p.free); n > 0 {
		g := p.free[n-1]
		p.free = p.free[:n-1]
		return g
	}
	p.made++
	return make(page, p.floats)
}

// sequence is one session's rows and its sampler, whose log holds the tokens of the rows.
type sequence struct {
	pages   []page
	rows    int // rows held; with a tree, those before it
	sampler *speculative.Sampler
	tree    *tree  // the last segment when it was a tree: its rows lie behind rows
	version uint64 // raised by every segment
}

// tree is what must be known of a tree segment until its successor says what to keep of it.
type tree struct {
	tokens  []backend.Token
	parents []int32
}

// chain returns the rows that the tree's first rows add to the log when nobody says which to keep.
func (t *tree) chain() []int32 {
	var keep []int32
	for i, p := range t.parents {
		if int(p) != i-1 {
			break
		}
		keep = append(keep, int32(i))
	}
	return keep
}

// isPath reports whether keep is a path of the tree from its root.
func (t *tree) isPath(keep []int32) bool {
	last := int32(-1)
	for _, k := range keep {
		if k < 0 || int(k) >= len(t.parents) || t.parents[k] != last {
			return false
		}
		last = k
	}
	return true
}

func pagesFor(rows int) int { return (rows + pageRows - 1) / pageRows }

// resize gives a sequence the pages for a number of rows; they must be available.
func (p *pages) resize(s *sequence, rows int) {
	n := pagesFor(rows)
	for len(s.pages) < n {
		s.pages = append(s.pages, p.take())
	}
	p.free = append(p.free, s.pages[n:]...)
	s.pages = slices.Delete(s.pages, n, len(s.pages))
}

// offset is where the rows of a layer's head begin in a page; kind is 0 for keys, 1 for values.
func (c *config) offset(layer, kind, head int) int {
	return ((layer*2+kind)*c.kvHeads + head) * pageRows * c.headDim
}

// store writes one row of keys and values.
func (s *sequence) store(c *config, layer, slot int, k, v []float32) {
	g, at := s.pages[slot/pageRows], slot%pageRows*c.headDim
	for h := range c.kvHeads {
		copy(g[c.offset(layer, 0, h)+at:], k[h*c.headDim:][:c.headDim])
		copy(g[c.offset(layer, 1, h)+at:], v[h*c.headDim:][:c.headDim])
	}
}

// move copies a row of all layers to a lower slot.
func (s *sequence) move(c *config, to, from int) {
	a, b := s.pages[to/pageRows], s.pages[from/pageRows]
	i, j := to%pageRows*c.headDim, from%pageRows*c.headDim
	for ; i < len(a); i, j = i+pageRows*c.headDim, j+pageRows*c.headDim {
		copy(a[i:][:c.headDim], b[j:][:c.headDim])
	}
}

// settle makes the kept rows of the last tree part of the log.
func (s *sequence) settle(c *config, keep []int32) {
	for i, k := range keep {
		if int(k) != i {
			s.move(c, s.rows+i, s.rows+int(k))
		}
		s.sampler.Push(s.tree.tokens[k])
	}
	s.rows += len(keep)
	s.tree = nil
}

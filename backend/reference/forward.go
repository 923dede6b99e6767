package reference

import (
	"context"
	"math"
)

// passRows bounds the rows that go through the layers together, so that their activations stay in
// the cache. More rows go in several passes, which changes no result.
const passRows = 128

// logitFloats bounds the logits that are held at once.
const logitFloats = 1 << 21

// machine holds the weights and the scratch memory of a pass. One pass at a time.
type machine struct {
	c    config
	w    *weights
	pool *pool
	freq []float64 // rotation per position of each pair of dimensions

	x, norm, q, k, v, att, gate, up []float32 // activations, one row after the other
	sin, cos                        []float32
	logits                          []float32
	temps                           []temp // per worker

	observe func(*row, []float32) // nil but in tests: sees the logits of every wanted row
}

// temp is the scratch memory of one worker.
type temp struct {
	block  []float32 // decoded weights
	scores []float32 // attention weights of a group of heads
	rest   []float32 // keys or values of a tree's rows
	sum    []float32
	exp    []float32
}

func newMachine(c config, w *weights, threads int) *machine {
	m := &machine{c: c, w: w, pool: newPool(threads)}
	for i := range c.ropeDims / 2 {
		f := c.ropeScale * math.Pow(c.ropeBase, -2*float64(i)/float64(c.ropeDims))
		if w.ropeFactor != nil {
			f /= float64(w.ropeFactor[i])
		}
		m.freq = append(m.freq, f)
	}
	m.temps = make([]temp, threads)
	return m
}

// grow returns s with length n; what it holds is unspecified.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// forward runs rows in order through the model and lets their tasks choose.
func (m *machine) forward(ctx context.Context, rows []row) error {
	for len(rows) > 0 {
		n := min(len(rows), passRows)
		if err := m.pass(ctx, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (r *row) wanted() bool { return r.index >= r.task.From }

// pass runs at most passRows rows.
func (m *machine) pass(ctx context.Context, rows []row) error {
	c := &m.c
	n := len(rows)
	m.x, m.norm = grow(m.x, n*c.dim), grow(m.norm, n*c.dim)
	m.q, m.att = grow(m.q, n*c.qDim), grow(m.att, n*c.qDim)
	m.k, m.v = grow(m.k, n*c.kvDim), grow(m.v, n*c.kvDim)
	m.gate, m.up = grow(m.gate, n*m.w.ff), grow(m.up, n*m.w.ff)
	for i := range rows {
		r := &rows[i]
		copy(m.x[i*c.dim:][:c.dim], m.w.embed.row(int(r.task.Tokens[r.index]), m.norm))
	}
	m.rotations(rows)
	live := rows
	for l := range m.w.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.keysValues(l, live)
		if l == len(m.w.layers)-1 {
			live = m.onlyWanted(live) // nobody reads what the others would become
		}
		if len(live) > 0 {
			m.attention(l, live)
			m.feedForward(l, len(live))
		}
	}
	return m.choose(ctx, rows, len(live))
}

// rotations fills sin and cos for the positions of rows.
func (m *machine) rotations(rows []row) {
	pairs := len(m.freq)
	m.sin, m.cos = grow(m.sin, len(rows)*pairs), grow(m.cos, len(rows)*pairs)
	for i := range rows {
		for j, f := range m.freq {
			s, c := math.Sincos(float64(rows[i].pos) * f)
			m.sin[i*pairs+j], m.cos[i*pairs+j] = float32(s), float32(c)
		}
	}
}

// keysValues normalises x and stores the keys and values of a layer.
func (m *machine) keysValues(l int, rows []row) {
	c, w := &m.c, &m.w.layers[l]
	pairs := len(m.freq)
	for i := range rows {
		rmsNorm(m.norm[i*c.dim:][:c.dim], m.x[i*c.dim:][:c.dim], w.attnNorm, c.eps)
	}
	m.multiply(m.k, m.norm, w.k, len(rows))
	m.multiply(m.v, m.norm, w.v, len(rows))
	for i := range rows {
		k := m.k[i*c.kvDim:][:c.kvDim]
		rope(k, c.headDim, m.sin[i*pairs:][:pairs], m.cos[i*pairs:][:pairs])
		rows[i].task.seq.store(c, l, rows[i].slot, k, m.v[i*c.kvDim:][:c.kvDim])
	}
}

// onlyWanted moves the activations of the rows whose choices are wanted to the front and returns
// these rows.
func (m *machine) onlyWanted(rows []row) []row {
	dim, pairs := m.c.dim, len(m.freq)
	var live []row
	for i := range rows {
		if !rows[i].wanted() {
			continue
		}
		if n := len(live); n < i {
			copy(m.x[n*dim:][:dim], m.x[i*dim:])
			copy(m.norm[n*dim:][:dim], m.norm[i*dim:])
			copy(m.sin[n*pairs:][:pairs], m.sin[i*pairs:])
			copy(m.cos[n*pairs:][:pairs], m.cos[i*pairs:])
		}
		live = append(live, rows[i])
	}
	return live
}

// attention adds a layer's attention to x (Vaswani et al., arXiv 1706.03762; groups of query heads
// share keys and values: Ainslie et al., arXiv 2305.13245).
func (m *machine) attention(l int, rows []row) {
	c, w := &m.c, &m.w.layers[l]
	pairs := len(m.freq)
	m.multiply(m.q, m.norm, w.q, len(rows))
	longest := 0
	for i := range rows {
		rope(m.q[i*c.qDim:][:c.qDim], c.headDim, m.sin[i*pairs:][:pairs], m.cos[i*pairs:][:pairs])
		longest = max(longest, rows[i].pos+1)
	}
	m.pool.run(len(rows)*c.kvHeads, 2*longest*c.group*c.headDim, func(worker, lo, hi int) {
		t := &m.temps[worker]
		t.scores, t.sum = grow(t.scores, longest*c.group), grow(t.sum, c.headDim)
		for i := lo; i < hi; i++ {
			m.attend(l, &rows[i/c.kvHeads], i/c.kvHeads, i%c.kvHeads, t)
		}
	})
	m.multiply(m.norm, m.att, w.o, len(rows))
	addTo(m.x[:len(rows)*c.dim], m.norm)
}

// attend computes the attention of row i's query heads that share a key-value head.
func (m *machine) attend(l int, r *row, i, head int, t *temp) {
	c := &m.c
	hd, n, at := c.headDim, r.pos+1, 0
	q := m.q[i*c.qDim+head*c.group*hd:][:c.group*hd]
	out := m.att[i*c.qDim+head*c.group*hd:][:c.group*hd]
	r.visit(c.offset(l, 0, head), hd, t, func(keys []float32) {
		k := len(keys) / hd
		for g := range c.group {
			dots(t.scores[g*n+at:][:k], keys, q[g*hd:][:hd])
		}
		at += k
	})
	for g := range c.group {
		s := t.scores[g*n:][:n]
		for j := range s {
			s[j] *= c.scoreScale
		}
		softmax(s)
	}
	clear(out)
	at = 0
	r.visit(c.offset(l, 1, head), hd, t, func(values []float32) {
		k := len(values) / hd
		for g := range c.group {
			weigh(out[g*hd:][:hd], t.scores[g*n+at:][:k], values, t.sum)
		}
		at += k
	})
}

// visit calls fn for the keys or values, which lie at off in the pages, of all rows that r sees:
// pageRows at a time, in the order of their positions. Those of a tree are gathered for it, so that
// they come in the same groups as those of a chain.
func (r *row) visit(off, headDim int, t *temp, fn func([]float32)) {
	pages := r.task.seq.pages
	whole := r.prefix
	if r.path != nil {
		whole -= r.prefix % pageRows
	}
	for at := 0; at < whole; at += pageRows {
		fn(pages[at/pageRows][off:][:min(pageRows, whole-at)*headDim])
	}
	if r.path == nil {
		return
	}
	rest := t.rest[:0]
	if n := r.prefix - whole; n > 0 {
		rest = append(rest, pages[whole/pageRows][off:][:n*headDim]...)
	}
	for _, slot := range r.path {
		rest = append(rest, pages[slot/pageRows][off+int(slot)%pageRows*headDim:][:headDim]...)
	}
	t.rest = rest
	for ; len(rest) > 0; rest = rest[min(pageRows*headDim, len(rest)):] {
		fn(rest[:min(pageRows*headDim, len(rest))])
	}
}

// feedForward adds a layer's feed-forward network to x.
func (m *machine) feedForward(l, n int) {
	c, w := &m.c, &m.w.layers[l]
	for i := range n {
		rmsNorm(m.norm[i*c.dim:][:c.dim], m.x[i*c.dim:][:c.dim], w.ffnNorm, c.eps)
	}
	m.multiply(m.gate, m.norm, w.gate, n)
	m.multiply(m.up, m.norm, w.up, n)
	ff := w.gate.rows
	m.pool.run(n, 16*ff, func(worker, lo, hi int) {
		t := &m.temps[worker]
		t.exp = grow(t.exp, ff)
		for i := lo; i < hi; i++ {
			swiGLU(m.gate[i*ff:][:ff], m.up[i*ff:][:ff], t.exp)
		}
	})
	m.multiply(m.norm, m.gate, w.down, n)
	addTo(m.x[:n*c.dim], m.norm)
}

// choose computes the logits of the wanted rows, whose activations are the first n, and lets the
// tasks of all rows go on.
func (m *machine) choose(ctx context.Context, rows []row, n int) error {
	c := &m.c
	for i := range n {
		rmsNorm(m.norm[i*c.dim:][:c.dim], m.x[i*c.dim:][:c.dim], m.w.norm, c.eps)
	}
	group := max(1, logitFloats/c.vocab)
	done, have := 0, 0 // wanted rows whose choices are made; whose logits are there
	for i := range rows {
		r := &rows[i]
		if !r.wanted() {
			r.task.choose(r, nil)
			continue
		}
		if done == have {
			if err := ctx.Err(); err != nil {
				return err
			}
			k := min(group, n-done)
			m.logits = grow(m.logits, k*c.vocab)
			m.multiply(m.logits, m.norm[done*c.dim:], m.w.output, k)
			have += k
		}
		first := (have - 1) / group * group
		logits := m.logits[(done-first)*c.vocab:][:c.vocab]
		if m.observe != nil {
			m.observe(r, logits)
		}
		r.task.choose(r, logits)
		done++
	}
	return nil
}

// blockFloats is how many weights are held in the first-level cache while all rows pass by.
const blockFloats = 4096

// multiply writes the products of n rows of x with a matrix (and its bias) to out. Every number is
// one dot product, in whatever company.
func (m *machine) multiply(out, x []float32, w *matrix, n int) {
	m.pool.run(w.rows, w.cols*n, func(worker, lo, hi int) {
		step := max(1, blockFloats/w.cols)
		t := &m.temps[worker]
		if w.f32 == nil {
			t.block = grow(t.block, step*w.cols)
		}
		for ; lo < hi; lo += step {
			k := min(step, hi-lo)
			weights := w.block(lo, k, t.block)
			for r := range n {
				o, in := out[r*w.rows+lo:][:k], x[r*w.cols:][:w.cols]
				dots(o, weights, in)
				if w.bias != nil {
					addTo(o, w.bias[lo:])
				}
			}
		}
	})
}

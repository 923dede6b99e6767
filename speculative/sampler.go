package speculative

import (
	"math"
	"slices"
)

// Sampler makes the choices of one sequence. Its state is a function of the token log alone, so
// it can be rebuilt for a branch, after a restart, or on another replica. It is not safe for
// concurrent use.
type Sampler struct {
	p         Params
	promptLen int
	log       []Token
	seen      map[Token]*seen // only when penalties are on
	cand      []candidate
	accept    Acceptor // nil: everything is acceptable
	rank      ranking
	allowed   []bool
	rule      Rule
	drafts    bool
}

type seen struct{ total, generated int }

type candidate struct {
	t Token
	l float64
}

// NewSampler returns a sampler with an empty log whose first promptLen tokens will be the prompt.
func NewSampler(p Params, promptLen int) *Sampler {
	s := &Sampler{p: p, promptLen: promptLen}
	if p.penalised() {
		s.seen = map[Token]*seen{}
	}
	return s
}

// Log returns the tokens pushed so far; valid until the next Push or Truncate.
func (s *Sampler) Log() []Token { return s.log }

// Len is the length of the log: the position that Choose chooses for.
func (s *Sampler) Len() int { return len(s.log) }

// Params returns the parameters that the sampler was made with.
func (s *Sampler) Params() Params { return s.p }

// Push appends a token to the log.
func (s *Sampler) Push(t Token) {
	if s.seen != nil {
		c := s.seen[t]
		if c == nil {
			c = &seen{}
			s.seen[t] = c
		}
		c.total++
		if len(s.log) >= s.promptLen {
			c.generated++
		}
	}
	if s.accept != nil && len(s.log) >= s.promptLen {
		s.accept.Push(t)
	}
	s.log = append(s.log, t)
}

// Truncate cuts the log to n tokens.
func (s *Sampler) Truncate(n int) {
	if n < 0 || n >= len(s.log) {
		return
	}
	if s.seen != nil {
		for i := len(s.log) - 1; i >= n; i-- {
			c := s.seen[s.log[i]]
			c.total--
			if i >= s.promptLen {
				c.generated--
			}
			if c.total == 0 {
				delete(s.seen, s.log[i])
			}
		}
	}
	if s.accept != nil {
		s.accept.Truncate(max(0, n-s.promptLen))
	}
	s.log = s.log[:n]
}

// Choose v1 picks the token at position Len() from the model's logits (one per vocabulary row),
// which it may overwrite. Order: penalties, bias, temperature, top-k, top-p, min-p; then the
// argmax of logit + noise over what survives, in float64, ties to the lower id. At temperature 0
// it is the argmax without noise. NaN counts as minus infinity, which is never chosen; when nothing
// else is there the choice is token 0. Plus infinity counts as the largest float32. A grammar comes last,
// see constrained. testdata/choose_v1.json holds the published vectors.
func (s *Sampler) Choose(logits []float32) Choice {
	s.shape(logits)
	return s.choose(logits)
}

// shape applies penalties and bias.
func (s *Sampler) shape(logits []float32) {
	s.penalise(logits)
	for t, b := range s.p.LogitBias {
		if t >= 0 && int(t) < len(logits) {
			logits[t] += b
		}
	}
}

func (s *Sampler) choose(logits []float32) Choice {
	if s.accept != nil {
		return s.constrained(logits)
	}
	if s.p.Temperature == 0 {
		return greedy(logits)
	}
	inv := 1 / float64(s.p.Temperature)
	key := newNoiseKey(s.p.Seed, s.p.Choice, len(s.log))
	if s.p.TopK == 0 && (s.p.TopP == 0 || s.p.TopP == 1) && s.p.MinP == 0 {
		return perturbAll(logits, inv, key)
	}
	return perturb(s.filter(logits, inv), key)
}

// penalise works in float32. The conversions keep compilers from fusing multiply and add, which
// would round differently from one architecture to the next.
func (s *Sampler) penalise(logits []float32) {
	r := s.p.RepetitionPenalty
	for t, c := range s.seen {
		if int(t) >= len(logits) || t < 0 {
			continue
		}
		l := logits[t]
		if r != 0 && r != 1 {
			if l > 0 {
				l = float32(l / r)
			} else {
				l = float32(l * r)
			}
		}
		if c.generated > 0 {
			l -= float32(s.p.PresencePenalty + float32(s.p.FrequencyPenalty*float32(c.generated)))
		}
		logits[t] = l
	}
}

// scaled divides a logit by the temperature, without a fused add after it.
func scaled(l float32, inv float64) float64 { return float64(float64(l) * inv) }

// best keeps the two highest scores seen, ties to the lower id.
type best struct {
	t, u   Token
	ts, us float64
}

func newBest() best {
	return best{t: -1, u: -1, ts: math.Inf(-1), us: math.Inf(-1)}
}

func (b *best) add(t Token, s float64) {
	switch {
	case s > b.ts || (s == b.ts && (b.t < 0 || t < b.t)):
		b.u, b.us = b.t, b.ts
		b.t, b.ts = t, s
	case s > b.us || (s == b.us && (b.u < 0 || t < b.u)):
		b.u, b.us = t, s
	}
}

func (b *best) choice() Choice {
	if b.t < 0 { // nothing to choose from: still a token, with no confidence
		return Choice{Token: 0, Confidence: 0.5, Second: -1}
	}
	c := 1.0
	if b.u >= 0 && !math.IsInf(b.us, -1) {
		c = 1 / (1 + math.Exp(b.us-b.ts))
		if math.IsNaN(c) {
			c = 0.5
		}
	}
	return Choice{Token: b.t, Confidence: float32(c), Second: b.u}
}

func greedy(logits []float32) Choice {
	b := newBest()
	for t, l := range logits {
		if v := float64(l); v > b.us {
			b.add(Token(t), v)
		}
	}
	return b.choice()
}

// perturbAll is perturb over the whole vocabulary without building candidates.
func perturbAll(logits []float32, inv float64, key noiseKey) Choice {
	b := newBest()
	for t, l := range logits {
		v := scaled(l, inv)
		if !(v > math.Inf(-1)) {
			continue
		}
		h := key.hash(Token(t))
		if b.u >= 0 && !mayExceed(h, b.us-v) {
			continue
		}
		b.add(Token(t), v+gumbel(h))
	}
	return b.choice()
}

func perturb(cand []candidate, key noiseKey) Choice {
	b := newBest()
	for _, c := range cand {
		b.add(c.t, c.l+gumbel(key.hash(c.t)))
	}
	return b.choice()
}

// filter applies temperature, top-k, top-p and min-p. At least one candidate survives unless every
// logit is minus infinity; the order of the result means nothing.
func (s *Sampler) filter(logits []float32, inv float64) []candidate {
	c := s.candidates(logits, inv)
	if k := s.p.TopK; k > 0 && k < len(c) {
		c = topK(c, k)
	}
	if p := float64(s.p.TopP); p > 0 && p < 1 && len(c) > 0 {
		c = topP(c, p)
	}
	if m := float64(s.p.MinP); m > 0 && len(c) > 0 {
		c = minP(c, m)
	}
	return c
}

// candidates are all tokens whose logit is more than minus infinity, in the order of their ids.
func (s *Sampler) candidates(logits []float32, inv float64) []candidate {
	c := s.cand[:0]
	for t, l := range logits {
		if v := scaled(min(l, math.MaxFloat32), inv); v > math.Inf(-1) {
			c = append(c, candidate{Token(t), v})
		}
	}
	s.cand = c
	return c
}

func byLogit(a, b candidate) int {
	switch {
	case a.l > b.l:
		return -1
	case a.l < b.l:
		return 1
	}
	return int(a.t) - int(b.t)
}

// topK moves the k first candidates by byLogit to the front (quickselect) and returns them.
func topK(c []candidate, k int) []candidate {
	lo, hi := 0, len(c)
	for hi-lo > 1 {
		pivot := c[lo+(hi-lo)/2]
		i, j := lo, hi-1
		for i <= j {
			for byLogit(c[i], pivot) < 0 {
				i++
			}
			for byLogit(c[j], pivot) > 0 {
				j--
			}
			if i <= j {
				c[i], c[j] = c[j], c[i]
				i++
				j--
			}
		}
		switch {
		case k <= j+1 && j >= lo:
			hi = j + 1
		case k >= i:
			lo = i
		default:
			return c[:k]
		}
		if k == lo || k == hi {
			return c[:k]
		}
	}
	return c[:k]
}

// topP keeps the shortest run of c by falling logit whose softmax mass reaches p of the whole. It
// sorts no more of c than it needs.
func topP(c []candidate, p float64) []candidate {
	top := highest(c)
	total := 0.0
	for _, x := range c {
		total += math.Exp(x.l - top)
	}
	sum, done := 0.0, 0
	for n := 256; done < len(c); n *= 16 {
		end := min(done+n, len(c))
		topK(c[done:], end-done)
		slices.SortFunc(c[done:end], byLogit)
		for ; done < end; done++ {
			sum += math.Exp(c[done].l - top)
			if sum >= p*total {
				return c[:done+1]
			}
		}
	}
	return c
}

// minP keeps what has at least m times the top probability.
func minP(c []candidate, m float64) []candidate {
	floor := highest(c) + math.Log(m)
	keep := c[:0]
	for _, x := range c {
		if x.l >= floor {
			keep = append(keep, x)
		}
	}
	return keep
}

func highest(c []candidate) float64 {
	top := math.Inf(-1)
	for _, x := range c {
		top = max(top, x.l)
	}
	return top
}

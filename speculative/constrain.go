package speculative

import "math"

// Acceptor says which tokens may come next in one generated text; package grammar has them. A sampler owns
// its acceptor and hands it every token that it generates.
type Acceptor interface {
	// Push appends a token of the generated text, acceptable or not.
	Push(t Token)
	// Truncate cuts the generated text to n tokens.
	Truncate(n int)
	// Accepts says whether a token may come next.
	Accepts(t Token) bool
	// Each calls yield with every token that may come next, until it returns false; yield calls nothing
	// of the acceptor's.
	Each(yield func(Token) bool)
	// Fallback is the token to take when none may come next: it ends the text.
	Fallback() Token
}

// Constrain makes the sampler choose only what a accepts. The log must be empty and a at its start.
func (s *Sampler) Constrain(a Acceptor) { s.accept = a }

// ranked is how many of the best tokens are tried one by one before all acceptable ones are listed.
const ranked = 32

// constrained is the last step of Choose under a grammar: of the ranked highest perturbed survivors of the
// filters the first that is acceptable, second the next acceptable one among these. With none of them
// acceptable, both come from all acceptable survivors, and with none of those from all acceptable
// tokens, where one whose logit is minus infinity may be first, but not second. With nothing acceptable the choice is Fallback.
func (s *Sampler) constrained(logits []float32) Choice {
	p := perturber{inv: 1, noisy: s.p.Temperature != 0}
	if p.noisy {
		p.inv, p.key = 1/float64(s.p.Temperature), newNoiseKey(s.p.Seed, s.p.Choice, len(s.log))
	}
	filtered := p.noisy && (s.p.TopK != 0 || s.p.TopP != 0 && s.p.TopP != 1 || s.p.MinP != 0)
	s.rank.reset()
	var survivors []candidate
	if filtered {
		survivors = s.filter(logits, p.inv)
		for _, c := range survivors {
			s.rank.add(p, c)
		}
	} else {
		s.rank.addAll(p, logits)
	}
	b := newBest()
	for _, c := range s.rank.best {
		if b.u < 0 && s.accept.Accepts(c.t) {
			b.add(c.t, c.l)
		}
	}
	if b.t >= 0 {
		return b.choice()
	}
	return s.search(logits, survivors, p)
}

// search chooses from all acceptable tokens.
func (s *Sampler) search(logits []float32, survivors []candidate, p perturber) Choice {
	if cap(s.allowed) < len(logits) {
		s.allowed = make([]bool, len(logits))
	}
	allowed := s.allowed[:len(logits)]
	clear(allowed)
	all := newBest()
	s.accept.Each(func(t Token) bool {
		if t >= 0 && int(t) < len(logits) {
			allowed[t] = true
			all.add(t, p.score(candidate{t, p.scale(logits[t])}))
		}
		return true
	})
	if all.t < 0 {
		return Choice{Token: s.accept.Fallback(), Confidence: 0.5, Second: -1}
	}
	b := newBest()
	for _, c := range survivors {
		if allowed[c.t] {
			b.add(c.t, p.score(c))
		}
	}
	if b.t >= 0 {
		return b.choice()
	}
	if math.IsInf(all.us, -1) {
		all.u = -1
	}
	return all.choice()
}

// perturber gives candidates their score.
type perturber struct {
	inv   float64 // 1 / temperature
	key   noiseKey
	noisy bool
}

// scale is a logit by the temperature; NaN counts as minus infinity.
func (p perturber) scale(l float32) float64 {
	if l != l {
		return math.Inf(-1)
	}
	return scaled(min(l, math.MaxFloat32), p.inv)
}

func (p perturber) score(c candidate) float64 {
	if !p.noisy {
		return c.l
	}
	return c.l + gumbel(p.key.hash(c.t))
}

// ranking keeps the highest scores, falling, ties by ascending id.
type ranking struct{ best []candidate }

func (r *ranking) reset() { r.best = r.best[:0] }

// addAll takes a whole vocabulary; most of it is left out at a glance.
func (r *ranking) addAll(p perturber, logits []float32) {
	worst := math.Inf(-1)
	for t, l := range logits {
		v := scaled(l, p.inv)
		if p.noisy && worst-v > 1 && !mayExceed(p.key.hash(Token(t)), worst-v) || !p.noisy && v <= worst {
			continue
		}
		r.add(p, candidate{Token(t), p.scale(l)})
		if len(r.best) == ranked {
			worst = r.best[ranked-1].l
		}
	}
}

// add takes a candidate with its logit and keeps it with its score.
func (r *ranking) add(p perturber, c candidate) {
	if !(c.l > math.Inf(-1)) {
		return
	}
	full := len(r.best) == ranked
	if full {
		last := r.best[ranked-1].l
		if p.noisy && !mayExceed(p.key.hash(c.t), last-c.l) || !p.noisy && c.l < last {
			return
		}
	}
	c.l = p.score(c)
	i := len(r.best)
	for i > 0 && byLogit(c, r.best[i-1]) < 0 {
		i--
	}
	if i == ranked {
		return
	}
	if !full {
		r.best = append(r.best, candidate{})
	}
	copy(r.best[i+1:], r.best[i:])
	r.best[i] = c
}

package speculative

import "math"

// Proposal is a token proposed for the position that is judged, with what it was drawn from.
type Proposal struct {
	Token Token
	Q     *Sparse
}

// Follow sets the acceptance rule. drafts: this is a draft's sampler, whose choices are proposals under
// the rule.
func (s *Sampler) Follow(r Rule, drafts bool) { s.rule, s.drafts = r.filled(), drafts }

// Judge is Choose under the sampler's rule: it makes the token at position Len() out of the model's
// logits and what is proposed there. A proposal is accepted if that token is its own. Of several, rejection
// takes the first only; the others are accepted where they happen to be right. At temperature 0
// rejection is Choose.
func (s *Sampler) Judge(logits []float32, proposed []Proposal) Choice {
	switch {
	case s.rule.Kind == Rejection && s.p.Temperature != 0 && s.drafts:
		s.shape(logits)
		return s.draw(logits)
	case s.rule.Kind == Rejection && s.p.Temperature != 0 && len(proposed) > 0:
		s.shape(logits)
		return s.reject(logits, proposed[0])
	case s.rule.Kind == Lenient && !s.drafts && len(proposed) > 0:
		s.shape(logits)
		return s.lenient(logits, proposed)
	}
	return s.Choose(logits)
}

// The rule's random numbers, one per position and purpose, come from the generator of the noise by
// token ids that no vocabulary has. They are independent of one another and of the noise by which drafts
// draw.
const (
	acceptPurpose Token = -2
	targetPurpose Token = -3
)

// uniform is a number in (0, 1).
func (s *Sampler) uniform(purpose Token) float64 {
	h := newNoiseKey(s.p.Seed, s.p.Choice, len(s.log)).hash(purpose)
	return (float64(h>>12) + 0.5) * 0x1p-52
}

// draw is what a draft proposes under rejection. It draws by the coupled noise, and so does a target
// for which nothing is proposed: a proposal that comes too late then agrees with the log as often as
// under coupled, and what was drafted beyond it lives on. Its confidence is a function of the distribution, not
// of what was drawn: whether a token is sent and judged must not depend on what it is, or the rule
// would not be lossless.
func (s *Sampler) draw(logits []float32) Choice {
	p := s.distribution(logits)
	if len(p) == 0 {
		return Choice{Confidence: 0.5, Second: -1}
	}
	t, top, q := quantise(p).draw(newNoiseKey(s.p.Seed, s.p.Choice, len(s.log)))
	return Choice{Token: t, Confidence: float32(0.5 + top/2), Second: -1, Q: q}
}

// reject is the rule of Leviathan et al.
func (s *Sampler) reject(logits []float32, x Proposal) Choice {
	p := s.distribution(logits)
	if len(p) == 0 {
		return Choice{Confidence: 0.5, Second: -1}
	}
	if s.uniform(acceptPurpose)*x.Q.probability() < probabilityOf(p, x.Token) {
		return Choice{Token: x.Token, Confidence: 1, Second: -1}
	}
	x.Q.subtract(x.Token, p)
	return Choice{Token: pick(p, s.uniform(targetPurpose)), Confidence: 1, Second: -1}
}

func probabilityOf(p []candidate, t Token) float64 {
	for _, c := range p {
		if c.t == t {
			return c.l
		}
	}
	return 0
}

// pick takes a token by its share of the sum.
func pick(p []candidate, u float64) Token {
	sum := 0.0
	for _, c := range p {
		sum += c.l
	}
	left, last := u*sum, p[0].t
	for _, c := range p {
		if c.l == 0 {
			continue
		}
		last = c.t
		if left -= c.l; left < 0 {
			break
		}
	}
	return last
}

// lenient takes the strict choice where it was proposed, and otherwise the first proposal that is good
// enough. Tokens that filters or a grammar exclude never are.
func (s *Sampler) lenient(logits []float32, proposed []Proposal) Choice {
	strict := s.choose(logits)
	for _, x := range proposed {
		if x.Token == strict.Token {
			return strict
		}
	}
	p := s.distribution(logits)
	enough := s.rule.enough(p)
	for _, x := range proposed {
		if v := probabilityOf(p, x.Token); v > 0 && v >= enough {
			return Choice{Token: x.Token, Confidence: 0.5, Second: strict.Token, Lenient: true}
		}
	}
	return strict
}

// enough is the least probability that lenient accepts; it reorders p.
func (r Rule) enough(p []candidate) float64 {
	if len(p) == 0 {
		return math.Inf(1)
	}
	switch r.By {
	case ByTopK:
		k := min(r.TopK, len(p))
		least := math.Inf(1)
		for _, c := range topK(p, k) {
			least = min(least, c.l)
		}
		return least
	case ByTypical:
		entropy := 0.0
		for _, c := range p {
			if c.l > 0 {
				entropy -= c.l * math.Log(c.l)
			}
		}
		return math.Nextafter(min(float64(r.Epsilon), float64(r.Delta)*math.Exp(-entropy)), 1)
	}
	return float64(r.Threshold) * highest(p)
}

// distribution returns the tokens that survive filters and grammar; l is each one's probability, at
// temperature 0 that at temperature 1 without filters. The logits are shaped already. None: there is no
// finite logit, or nothing is acceptable.
func (s *Sampler) distribution(logits []float32) []candidate {
	var p []candidate
	if s.p.Temperature == 0 {
		p = s.candidates(logits, 1)
	} else {
		p = s.filter(logits, 1/float64(s.p.Temperature))
	}
	if s.accept != nil {
		p = s.acceptable(logits, p)
	}
	if len(p) == 0 {
		return nil
	}
	top, sum := highest(p), 0.0
	for i := range p {
		p[i].l = math.Exp(p[i].l - top)
		sum += p[i].l
	}
	for i := range p {
		p[i].l /= sum
	}
	return p
}

// acceptable keeps what the grammar accepts of the survivors, or, where that is nothing, all that it
// accepts; with nothing acceptable it is the token that ends the text.
func (s *Sampler) acceptable(logits []float32, survivors []candidate) []candidate {
	allowed, any := s.list(len(logits))
	if !any {
		return append(survivors[:0], candidate{t: s.accept.Fallback()})
	}
	keep := survivors[:0]
	for _, c := range survivors {
		if allowed[c.t] {
			keep = append(keep, c)
		}
	}
	if len(keep) > 0 {
		return keep
	}
	inv := 1.0
	if s.p.Temperature != 0 {
		inv = 1 / float64(s.p.Temperature)
	}
	for t, ok := range allowed {
		if v := scaled(min(logits[t], math.MaxFloat32), inv); ok && v > math.Inf(-1) {
			keep = append(keep, candidate{Token(t), v})
		}
	}
	if len(keep) > 0 {
		return keep
	}
	for t, ok := range allowed { // all at minus infinity: any of them
		if ok {
			keep = append(keep, candidate{t: Token(t)})
		}
	}
	return keep
}

// list marks the tokens that the grammar accepts next.
func (s *Sampler) list(size int) (allowed []bool, any bool) {
	if cap(s.allowed) < size {
		s.allowed = make([]bool, size)
	}
	allowed = s.allowed[:size]
	clear(allowed)
	s.accept.Each(func(t Token) bool {
		if t >= 0 && int(t) < size {
			allowed[t], any = true, true
		}
		return true
	})
	return allowed, any
}

package speculative

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// slowChoose is Choose v1 written down sentence by sentence.
func slowChoose(p Params, promptLen int, log []Token, logits []float32) Choice {
	return choiceOf(slowRank(p, promptLen, log, logits))
}

type row struct {
	id    Token
	score float64
}

// slowRank returns what survives the filters, by falling perturbed score.
func slowRank(p Params, promptLen int, log []Token, logits []float32) []row {
	total, generated := map[Token]int{}, map[Token]int{}
	for i, t := range log {
		total[t]++
		if i >= promptLen {
			generated[t]++
		}
	}
	var rows []row
	for id, l := range logits {
		t := Token(id)
		if r := p.RepetitionPenalty; total[t] > 0 && r != 0 {
			if l > 0 {
				l /= r
			} else {
				l *= r
			}
		}
		if generated[t] > 0 {
			often := p.FrequencyPenalty * float32(generated[t])
			both := p.PresencePenalty + often
			l -= both
		}
		l += p.LogitBias[t]
		if l != l || math.IsInf(float64(l), -1) {
			continue
		}
		if math.IsInf(float64(l), 1) {
			l = math.MaxFloat32
		}
		rows = append(rows, row{t, float64(l)})
	}
	byScore := func() {
		sort.SliceStable(rows, func(i, j int) bool { return rows[i].score > rows[j].score })
	}
	if p.Temperature != 0 {
		for i := range rows {
			rows[i].score *= 1 / float64(p.Temperature)
		}
		byScore()
		if p.TopK > 0 && p.TopK < len(rows) {
			rows = rows[:p.TopK]
		}
		weight := func(r row) float64 { return math.Exp(r.score - rows[0].score) }
		if p.TopP > 0 && p.TopP < 1 {
			all, sum := 0.0, 0.0
			for _, r := range rows {
				all += weight(r)
			}
			for i, r := range rows {
				if sum += weight(r); sum >= float64(p.TopP)*all {
					rows = rows[:i+1]
					break
				}
			}
		}
		n := 0
		for n < len(rows) && (n == 0 || weight(rows[n]) >= float64(p.MinP)) {
			n++
		}
		rows = rows[:n]
		sort.Slice(rows, func(i, j int) bool { return rows[i].id < rows[j].id })
		for i := range rows {
			rows[i].score += Noise(p.Seed, p.Choice, len(log), rows[i].id)
		}
	}
	byScore()
	return rows
}

func choiceOf(rows []row) Choice {
	switch len(rows) {
	case 0:
		return Choice{Token: 0, Confidence: 0.5, Second: -1}
	case 1:
		return Choice{Token: rows[0].id, Confidence: 1, Second: -1}
	}
	c := Choice{Token: rows[0].id, Second: rows[1].id}
	c.Confidence = float32(1 / (1 + math.Exp(rows[1].score-rows[0].score)))
	return c
}

// chooseCase is one call of Choose with all that it depends on.
type chooseCase struct {
	p         Params
	promptLen int
	log       []Token
	logits    []float32
}

func randomCase(r *rand.Rand) chooseCase {
	c := chooseCase{logits: make([]float32, 1+r.IntN(300))}
	grain := []float64{0, 1, 0.25}[r.IntN(3)] // coarse logits tie often
	for i := range c.logits {
		x := r.NormFloat64() * 4
		if grain > 0 {
			x = math.Round(x/grain) * grain
		}
		switch c.logits[i] = float32(x); r.IntN(60) {
		case 0:
			c.logits[i] = float32(math.NaN())
		case 1, 2:
			c.logits[i] = float32(math.Inf(-1))
		case 3:
			if r.IntN(20) == 0 {
				c.logits[i] = float32(math.Inf(1))
			}
		}
	}
	if r.IntN(50) == 0 {
		for i := range c.logits {
			c.logits[i] = float32(math.Inf(-1))
		}
	}
	maybe := func(v float32) float32 {
		if r.IntN(2) == 0 {
			return v
		}
		return 0
	}
	c.p = Params{Temperature: maybe(0.1 + 2*r.Float32()), TopP: maybe(r.Float32()), MinP: maybe(r.Float32() * r.Float32()),
		RepetitionPenalty: maybe(0.5 + r.Float32()), PresencePenalty: maybe(2*r.Float32() - 1),
		FrequencyPenalty: maybe(2*r.Float32() - 1), Seed: r.Uint64(), Choice: r.Uint32N(3)}
	if r.IntN(2) == 0 {
		c.p.TopK = 1 + r.IntN(2*len(c.logits))
	}
	for range r.IntN(4) {
		if c.p.LogitBias == nil {
			c.p.LogitBias = map[Token]float32{}
		}
		c.p.LogitBias[Token(r.IntN(len(c.logits)+3))] = 20*r.Float32() - 10
	}
	for range r.IntN(30) {
		c.log = append(c.log, Token(r.IntN(len(c.logits)+2)))
	}
	c.promptLen = r.IntN(len(c.log) + 1)
	return c
}

func (c chooseCase) run() Choice {
	s := NewSampler(c.p, c.promptLen)
	for _, t := range c.log {
		s.Push(t)
	}
	return s.Choose(slices.Clone(c.logits))
}

func TestChooseEqualsSlowChoose(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 6000 {
		c := randomCase(r)
		if err := c.p.Validate(); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		if got, want := c.run(), slowChoose(c.p, c.promptLen, c.log, c.logits); !sameChoice(got, want) {
			t.Fatalf("case %d: got %+v, want %+v\n%+v", i, got, want, c)
		}
	}
}

func sameChoice(a, b Choice) bool {
	return a.Token == b.Token && a.Second == b.Second && math.Abs(float64(a.Confidence-b.Confidence)) < 1e-6
}

// TestChooseLargeVocabulary sees to it that the shortcuts (partial sorting, skipped noise) are exact
// where they matter.
func TestChooseLargeVocabulary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 24 {
		c := chooseCase{logits: make([]float32, 12_000)}
		for j := range c.logits {
			c.logits[j] = float32(r.NormFloat64() * []float64{0.5, 3}[i%2])
		}
		c.p = Params{Temperature: 1, Seed: uint64(i), TopP: []float32{0, 0.5, 0.9, 0.999}[i%4], TopK: []int{0, 50, 5000}[i%3]}
		if got, want := c.run(), slowChoose(c.p, 0, nil, c.logits); !sameChoice(got, want) {
			t.Fatalf("%d: got %+v, want %+v for %+v", i, got, want, c.p)
		}
	}
}

// TestChooseMatchesSoftmax: by the Gumbel trick the choice is a sample of the softmax.
func TestChooseMatchesSoftmax(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	logits := make([]float32, 12)
	for i := range logits {
		logits[i] = float32(r.NormFloat64())
	}
	for _, p := range []Params{{Temperature: 1}, {Temperature: 0.6}, {Temperature: 1.5, TopK: 7}, {Temperature: 1, TopP: 0.8}, {Temperature: 1, MinP: 0.2}} {
		p.Seed = 42
		want := softmaxOf(p, logits)
		const n = 60_000
		counts := make([]float64, len(logits))
		s := NewSampler(p, 0)
		for range n {
			c := s.Choose(slices.Clone(logits))
			counts[c.Token]++
			s.Push(c.Token)
		}
		chi, free := 0.0, -1
		for i, q := range want {
			if q == 0 {
				if counts[i] > 0 {
					t.Errorf("%+v: token %d was filtered out and chosen", p, i)
				}
				continue
			}
			free++
			chi += (counts[i] - n*q) * (counts[i] - n*q) / (n * q)
		}
		if bound := float64(free) + 4*math.Sqrt(2*float64(free)) + 6; chi > bound { // p below 1e-4
			t.Errorf("%+v: chi-square %.1f with %d degrees of freedom, at most %.1f", p, chi, free, bound)
		}
	}
}

// softmaxOf is the distribution that Params describe, from the sorted list of probabilities.
func softmaxOf(p Params, logits []float32) []float64 {
	probs, sum := make([]float64, len(logits)), 0.0
	for i, l := range logits {
		probs[i] = math.Exp(float64(l) / float64(p.Temperature))
		sum += probs[i]
	}
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return probs[order[i]] > probs[order[j]] })
	mass, kept := 0.0, 0.0
	out := make([]float64, len(logits))
	for n, i := range order {
		if (p.TopK > 0 && n >= p.TopK) || (p.TopP > 0 && mass >= float64(p.TopP)*sum) || probs[i] < float64(p.MinP)*probs[order[0]] {
			break
		}
		mass += probs[i]
		out[i], kept = probs[i], kept+probs[i]
	}
	for i := range out {
		out[i] /= kept
	}
	return out
}

// TestCoupledAcceptance checks the bound of Daliri, Musco and Suresh: with shared noise draft and
// target agree with probability at least (1-TV)/(1+TV).
func TestCoupledAcceptance(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, spread := range []float64{0.1, 0.5, 1.5} {
		target, draft := make([]float32, 20), make([]float32, 20)
		for i := range target {
			target[i] = float32(r.NormFloat64() * 2)
			draft[i] = target[i] + float32(r.NormFloat64()*spread)
		}
		p := Params{Temperature: 1, Seed: 7}
		tv, a, b := 0.0, softmaxOf(p, target), softmaxOf(p, draft)
		for i := range a {
			tv += math.Abs(a[i]-b[i]) / 2
		}
		const n = 20_000
		agree := 0
		x, y := NewSampler(p, 0), NewSampler(p, 0)
		for range n {
			c := x.Choose(slices.Clone(target))
			if c.Token == y.Choose(slices.Clone(draft)).Token {
				agree++
			}
			x.Push(c.Token)
			y.Push(c.Token)
		}
		if rate, bound := float64(agree)/n, (1-tv)/(1+tv); rate < bound-0.015 || rate > 1-tv+0.015 {
			t.Errorf("total variation %.3f: agreement %.3f, want between %.3f and %.3f", tv, rate, bound, 1-tv)
		}
	}
}

// TestTruncateEqualsRebuild: the sampler's state is a function of the log alone.
func TestTruncateEqualsRebuild(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 300 {
		p := Params{Temperature: 1, RepetitionPenalty: 1.3, PresencePenalty: 0.5, FrequencyPenalty: 0.25, Seed: r.Uint64()}
		promptLen := r.IntN(8)
		s := NewSampler(p, promptLen)
		for range 12 {
			if r.IntN(3) == 0 {
				s.Truncate(r.IntN(s.Len()+3) - 1) // beyond either end: no effect
			}
			for range r.IntN(6) {
				s.Push(Token(r.IntN(10)))
			}
			fresh := NewSampler(p, promptLen)
			for _, tok := range s.Log() {
				fresh.Push(tok)
			}
			logits := make([]float32, 10)
			for i := range logits {
				logits[i] = float32(r.NormFloat64())
			}
			again := slices.Clone(logits)
			if a, b := s.Choose(logits), fresh.Choose(again); a != b || !slices.Equal(logits, again) {
				t.Fatalf("after truncation %+v %v, rebuilt %+v %v", a, logits, b, again)
			}
		}
	}
}

func TestParamsValidate(t *testing.T) {
	nan := float32(math.NaN())
	for _, p := range []Params{{Temperature: -1}, {Temperature: nan}, {TopK: -1}, {TopP: 1.1}, {MinP: -0.1},
		{RepetitionPenalty: -1}, {PresencePenalty: 11}, {FrequencyPenalty: float32(math.Inf(1))},
		{LogitBias: map[Token]float32{-1: 0}}, {LogitBias: map[Token]float32{1: nan}}} {
		if err := p.Validate(); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
	if err := (Params{Temperature: 0.7, TopK: 40, TopP: 0.95, MinP: 0.05, RepetitionPenalty: 1.1}).Validate(); err != nil {
		t.Error(err)
	}
}

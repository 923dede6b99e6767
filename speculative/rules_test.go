package speculative

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
)

// chi is Pearson's statistic of counts against what is expected, with its degrees of freedom; classes that are
// expected less than five times are taken together.
func chi(counts, expected []float64) (x float64, degrees int) {
	restC, restE := 0.0, 0.0
	for i, e := range expected {
		if e < 5 {
			restC, restE = restC+counts[i], restE+e
			continue
		}
		x += (counts[i] - e) * (counts[i] - e) / e
		degrees++
	}
	if restE >= 1 {
		x += (restC - restE) * (restC - restE) / restE
		degrees++
	} else if restC > 0 && restE == 0 {
		return math.Inf(1), max(1, degrees)
	}
	return x, max(1, degrees-1)
}

// tooLarge says that a chi-square value of so many degrees has a probability of less than about 1e-6
// (Wilson and Hilferty's approximation, z = 4.75).
func tooLarge(x float64, degrees int) bool {
	d := float64(degrees)
	return x > d*math.Pow(1-2/(9*d)+4.75*math.Sqrt(2/(9*d)), 3)
}

// language is a model of which the last token of the log decides the logits.
type language [][]float32

func (l language) after(log []Token) []float32 {
	return slices.Clone(l[int(log[len(log)-1])%len(l)])
}

// pairOf makes two languages of a vocabulary, in one of several shapes.
func pairOf(shape string, vocabulary int) (target, draft language) {
	for row := range 3 {
		p, q := make([]float32, vocabulary), make([]float32, vocabulary)
		for t := range vocabulary {
			h := func(n uint64) float64 { return float64(mix(uint64(row*1000+t)*7+n)>>40) * 0x1p-24 }
			switch shape {
			case "near":
				p[t] = float32(3 * h(1))
				q[t] = p[t] + float32(0.7*h(2))
			case "far":
				p[t], q[t] = float32(4*h(3)), float32(4*h(4))
			case "disjoint": // the draft knows only what the target says seldom
				p[t], q[t] = float32(2-4*float64(t)/float64(vocabulary)), float32(4*float64(t)/float64(vocabulary))
			case "sharp":
				p[t], q[t] = float32(math.Log(h(5)+1e-3)*3), float32(math.Log(h(6)+1e-3)*4)
			case "flat":
				p[t], q[t] = 0, float32(h(7))
			}
		}
		target, draft = append(target, p), append(draft, q)
	}
	return target, draft
}

// trial decodes three tokens by the rule: two are drafted, the last one is a bonus if both hold.
type trial struct {
	p             Params
	target, draft language
	judge         func(s *Sampler, logits []float32, x []Proposal) Choice
	point         bool // the draft's own distribution is not told
	coupled       bool // the draft is one that knows no rules
}

func (c trial) run(seed uint64) (out [3]Token, accepted int) {
	c.p.Seed = seed
	d, v := NewSampler(c.p, 1), NewSampler(c.p, 1)
	if !c.coupled {
		d.Follow(Rule{Kind: Rejection}, true)
	}
	v.Follow(Rule{Kind: Rejection}, false)
	d.Push(0)
	v.Push(0)
	var drafted []Proposal
	for range 2 {
		x := d.Judge(c.draft.after(d.Log()), nil)
		if c.point {
			x.Q = nil
		}
		if err := x.Q.Check(x.Token, 1<<20); err != nil {
			panic(err)
		}
		drafted = append(drafted, Proposal{x.Token, x.Q})
		d.Push(x.Token)
	}
	for i := 0; i < 3; i++ {
		var here []Proposal
		if i < len(drafted) {
			here = drafted[i : i+1]
		}
		t := c.judge(v, c.target.after(v.Log()), here)
		if out[i] = t.Token; len(here) > 0 && here[0].Token == t.Token {
			accepted++
		} else {
			drafted = nil
		}
		v.Push(t.Token)
	}
	return out, accepted
}

// expected is the target's own joint distribution of three tokens after token 0.
func (c trial) expected(draws float64, vocabulary int) []float64 {
	s := NewSampler(c.p, 1)
	one := func(t Token) []float64 {
		s.Truncate(0)
		s.Push(t)
		out := make([]float64, vocabulary)
		logits := c.target.after(s.Log())
		s.shape(logits)
		for _, x := range s.distribution(logits) {
			out[x.t] = x.l
		}
		return out
	}
	out := make([]float64, vocabulary*vocabulary*vocabulary)
	for a, pa := range one(0) {
		for b, pb := range one(Token(a)) {
			for z, pz := range one(Token(b)) {
				out[(a*vocabulary+b)*vocabulary+z] = draws * pa * pb * pz
			}
		}
	}
	return out
}

// measure draws and compares the joint distribution and those of each position.
func (c trial) measure(draws, vocabulary int) (failed []string, rate float64) {
	counts := make([]float64, vocabulary*vocabulary*vocabulary)
	hits := 0
	for i := range draws {
		out, n := c.run(uint64(i)*0x9E3779B9 + 17)
		hits += n
		counts[(int(out[0])*vocabulary+int(out[1]))*vocabulary+int(out[2])]++
	}
	expected := c.expected(float64(draws), vocabulary)
	for name, key := range map[string]func(i int) int{
		"three tokens": func(i int) int { return i },
		"two tokens":   func(i int) int { return i / vocabulary },
		"first":        func(i int) int { return i / vocabulary / vocabulary },
		"second":       func(i int) int { return i / vocabulary % vocabulary },
		"third":        func(i int) int { return i % vocabulary },
	} {
		a, b := make([]float64, len(counts)), make([]float64, len(counts))
		for i := range counts {
			a[key(i)] += counts[i]
			b[key(i)] += expected[i]
		}
		if x, d := chi(a, b); tooLarge(x, d) {
			failed = append(failed, fmt.Sprintf("%s: chi-square %.0f at %d degrees", name, x, d))
		}
	}
	return failed, float64(hits) / float64(draws)
}

func trials() map[string]trial {
	out := map[string]trial{}
	add := func(name, shape string, vocabulary int, p Params, edit func(*trial)) {
		t, d := pairOf(shape, vocabulary)
		c := trial{p: p, target: t, draft: d, judge: (*Sampler).Judge}
		if edit != nil {
			edit(&c)
		}
		out[name] = c
	}
	add("near", "near", 6, Params{Temperature: 1}, nil)
	add("far", "far", 6, Params{Temperature: 0.8}, nil)
	add("disjoint", "disjoint", 6, Params{Temperature: 1}, nil)
	add("sharp", "sharp", 6, Params{Temperature: 1.3}, nil)
	add("flat", "flat", 6, Params{Temperature: 1}, nil)
	add("more tokens than a distribution tells", "far", 24, Params{Temperature: 2}, nil)
	add("filters", "far", 8, Params{Temperature: 1, TopK: 6, TopP: 0.9, MinP: 0.02}, nil)
	add("point masses", "near", 6, Params{Temperature: 1}, func(c *trial) { c.point = true })
	add("a coupled draft", "near", 6, Params{Temperature: 1}, func(c *trial) { c.coupled = true })
	return out
}

// TestRejectionIsLossless: three tokens, drafted, judged, corrected and gone on from, have the target's own
// joint distribution. OUTRIDER_VERIFY=1 takes a million draws of each pair of models.
func TestRejectionIsLossless(t *testing.T) {
	draws := 60_000
	if os.Getenv("OUTRIDER_VERIFY") != "" {
		draws = 1_000_000
	} else if testing.Short() {
		draws = 10_000
	}
	for name, c := range trials() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed, rate := c.measure(draws, len(c.target[0]))
			if len(failed) > 0 {
				t.Errorf("%d draws: %q", draws, failed)
			}
			t.Logf("%s: %d draws, %.2f of 2 drafted tokens accepted", name, draws, rate)
			if rate == 0 {
				t.Error("nothing is ever accepted")
			}
		})
	}
}

// TestRejectionMutants shows that the same measure sees deliberate mistakes in the rule.
func TestRejectionMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("needs many draws")
	}
	mutants := map[string]func(s *Sampler, logits []float32, x []Proposal) Choice{
		"accepts by p/(q+0.02)": func(s *Sampler, logits []float32, x []Proposal) Choice {
			p := s.distribution(logits)
			if len(x) > 0 {
				if s.uniform(acceptPurpose)*(x[0].Q.probability()+0.02) < probabilityOf(p, x[0].Token) {
					return Choice{Token: x[0].Token}
				}
				x[0].Q.subtract(x[0].Token, p)
			}
			return Choice{Token: pick(p, s.uniform(targetPurpose))}
		},
		"forgets the residual": func(s *Sampler, logits []float32, x []Proposal) Choice {
			p := s.distribution(logits)
			if len(x) > 0 && s.uniform(acceptPurpose)*x[0].Q.probability() < probabilityOf(p, x[0].Token) {
				return Choice{Token: x[0].Token}
			}
			return Choice{Token: pick(p, s.uniform(targetPurpose))}
		},
		"takes the distribution for a point mass when it is rejected": func(s *Sampler, logits []float32, x []Proposal) Choice {
			p := s.distribution(logits)
			if len(x) > 0 {
				if s.uniform(acceptPurpose)*x[0].Q.probability() < probabilityOf(p, x[0].Token) {
					return Choice{Token: x[0].Token}
				}
				(*Sparse)(nil).subtract(x[0].Token, p)
			}
			return Choice{Token: pick(p, s.uniform(targetPurpose))}
		},
		"the draft's own noise decides what is left": func(s *Sampler, logits []float32, x []Proposal) Choice {
			if len(x) == 0 {
				return s.Choose(logits)
			}
			p := s.distribution(logits)
			if s.uniform(acceptPurpose)*x[0].Q.probability() < probabilityOf(p, x[0].Token) {
				return Choice{Token: x[0].Token}
			}
			x[0].Q.subtract(x[0].Token, p)
			for i := range p {
				p[i].l = math.Log(p[i].l)
			}
			return perturb(p, newNoiseKey(s.p.Seed, s.p.Choice, len(s.log)))
		},
		"one random number for two purposes": func(s *Sampler, logits []float32, x []Proposal) Choice {
			p := s.distribution(logits)
			if len(x) > 0 {
				if s.uniform(targetPurpose)*x[0].Q.probability() < probabilityOf(p, x[0].Token) {
					return Choice{Token: x[0].Token}
				}
				x[0].Q.subtract(x[0].Token, p)
			}
			return Choice{Token: pick(p, s.uniform(targetPurpose))}
		},
		"judges only what looks probable": func(s *Sampler, logits []float32, x []Proposal) Choice {
			if len(x) > 0 && x[0].Q.probability() < 0.2 {
				x = nil
			}
			return s.Judge(logits, x)
		},
	}
	for name, judge := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, shape := range []string{"near", "far", "sharp"} {
				c := trials()[shape]
				c.judge = judge
				if failed, _ := c.measure(60_000, 6); len(failed) > 0 {
					t.Logf("caught with %s: %s", shape, failed[0])
					return
				}
			}
			t.Error("SURVIVES")
		})
	}
}

// TestRejectionAtTemperatureZero: it is coupled, and what a draft proposes has no distribution.
func TestRejectionAtTemperatureZero(t *testing.T) {
	target, _ := pairOf("far", 8)
	for token := range Token(8) {
		want := NewSampler(Params{}, 1)
		got := NewSampler(Params{}, 1)
		got.Follow(Rule{Kind: Rejection}, token%2 == 0)
		want.Push(token)
		got.Push(token)
		a := want.Choose(target.after(want.Log()))
		b := got.Judge(target.after(got.Log()), []Proposal{{Token: 3}})
		if a != b {
			t.Errorf("after %d: %+v, coupled %+v", token, b, a)
		}
	}
}

// only accepts some tokens.
type only []Token

func (o only) Push(Token)           {}
func (o only) Truncate(int)         {}
func (o only) Accepts(t Token) bool { return slices.Contains(o, t) }
func (o only) Fallback() Token      { return 7 }
func (o only) Each(yield func(Token) bool) {
	for _, t := range o {
		if !yield(t) {
			return
		}
	}
}

// TestRulesKeepToGrammars: nothing that a grammar refuses is chosen or proposed, whatever the rule.
func TestRulesKeepToGrammars(t *testing.T) {
	target, _ := pairOf("far", 8)
	for _, text := range []string{"rejection", "lenient:threshold=0.01", "lenient:top_k=8", "lenient:typical"} {
		rule, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(200) {
			for _, accept := range []only{{1, 4}, {2}, nil} {
				for _, drafts := range []bool{false, true} {
					s := NewSampler(Params{Temperature: 1, TopK: 3, Seed: seed}, 1)
					s.Constrain(accept)
					s.Follow(rule, drafts)
					s.Push(Token(seed % 3))
					c := s.Judge(target.after(s.Log()), []Proposal{{Token: Token(seed % 8)}})
					if !accept.Accepts(c.Token) && (accept != nil || c.Token != accept.Fallback()) {
						t.Fatalf("%s chose %d, only %v may be", text, c.Token, accept)
					}
				}
			}
		}
	}
}

func TestLenient(t *testing.T) {
	logits := func() []float32 { // 0.5, 0.3, 0.15, 0.05
		return []float32{float32(math.Log(0.5)), float32(math.Log(0.3)), float32(math.Log(0.15)), float32(math.Log(0.05))}
	}
	for _, c := range []struct {
		rule   string
		accept []Token // besides the choice of the target, 0
	}{
		{"lenient:threshold=1", nil},
		{"lenient:threshold=0.55", []Token{1}},
		{"lenient:threshold=0.29", []Token{1, 2}},
		{"lenient", []Token{1}},
		{"lenient:threshold=0.01", []Token{1, 2, 3}},
		{"lenient:top_k=1", nil},
		{"lenient:top_k=3", []Token{1, 2}},
		{"lenient:typical=0.2/1", []Token{1}},         // e^-H is 0.319
		{"lenient:typical=0.9/0.5", []Token{1}},       // 0.159
		{"lenient:typical=0.9/0.1", []Token{1, 2, 3}}, // 0.032
		{"coupled", nil},
	} {
		rule, err := ParseRule(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		for x := range Token(4) {
			s := NewSampler(Params{}, 1)
			s.Follow(rule, false)
			s.Push(1)
			got := s.Judge(logits(), []Proposal{{Token: x}})
			want := Token(0)
			if slices.Contains(c.accept, x) {
				want = x
			}
			if got.Token != want || got.Lenient != (want != 0) {
				t.Errorf("%s: proposed %d, got %+v", c.rule, x, got)
			}
		}
		s := NewSampler(Params{}, 1)
		s.Follow(rule, false)
		s.Push(1)
		if got := s.Judge(logits(), []Proposal{{Token: 1}, {Token: 0}}); got.Token != 0 || got.Lenient {
			t.Errorf("%s: the strict choice was proposed, too; got %+v", c.rule, got)
		}
	}
}

func TestParseRule(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "coupled": "coupled", "rejection": "rejection", "lenient": "lenient:threshold=0.3", "lenient:threshold": "lenient:threshold=0.3",
		"lenient:threshold=0.5": "lenient:threshold=0.5", "lenient:top_k": "lenient:top_k=3", "lenient:top_k=5": "lenient:top_k=5",
		"lenient:typical": "lenient:typical=0.09/0.3", "lenient:typical=0.2/0.4": "lenient:typical=0.2/0.4",
	} {
		r, err := ParseRule(in)
		if err != nil || r.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, r, err, want)
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Errorf("%q: read again %+v, %v", in, again, err)
		}
	}
	for _, in := range []string{"strict", "coupled:", "rejection:0.3", "lenient:", "lenient:0.3", "lenient:threshold=2", "lenient:threshold=-1", "lenient:threshold=0",
		"lenient:threshold=NaN", "lenient:threshold=", "lenient:top_k=2.5", "lenient:top_k=1e9", "lenient:typical=0.1", "lenient:typical=0.1/Inf", "lenient:typical=1/2/3", "Lenient"} {
		if r, err := ParseRule(in); !errors.Is(err, ErrRule) {
			t.Errorf("%q: %+v, %v", in, r, err)
		}
	}
}

func TestSparseCheck(t *testing.T) {
	good := &Sparse{Tokens: []Token{3, 1}, Weights: []uint8{1, 255}}
	if err := good.Check(3, 4); err != nil {
		t.Error(err)
	}
	if err := (*Sparse)(nil).Check(3, 4); err != nil {
		t.Error(err)
	}
	long := &Sparse{}
	for i := range Token(MaxSparse + 1) {
		long.Tokens, long.Weights = append(long.Tokens, i), append(long.Weights, 1)
	}
	for name, q := range map[string]*Sparse{
		"empty": {}, "one token": {Tokens: []Token{3}, Weights: []uint8{1}}, "of another token": {Tokens: []Token{1, 3}, Weights: []uint8{1, 1}},
		"weightless draw": {Tokens: []Token{3, 1}, Weights: []uint8{0, 1}}, "weightless other": {Tokens: []Token{3, 1}, Weights: []uint8{1, 0}},
		"twice": {Tokens: []Token{3, 3}, Weights: []uint8{1, 1}}, "beyond the vocabulary": {Tokens: []Token{3, 4}, Weights: []uint8{1, 1}},
		"negative": {Tokens: []Token{3, -1}, Weights: []uint8{1, 1}}, "too few weights": {Tokens: []Token{3, 1}, Weights: []uint8{1}}, "too long": long,
	} {
		if err := q.Check(3, 4); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

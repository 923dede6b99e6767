package speculative

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// RuleKind says when a drafted token is accepted.
type RuleKind uint8

// The values of RuleKind are those of the wire.
const (
	RuleDefault RuleKind = iota // whoever is asked decides; to the core it is Coupled
	// Coupled accepts what the target chooses itself with the shared noise (Daliri, Musco, Suresh, arXiv
	// 2408.07978): the text is the one that the target alone writes.
	Coupled
	// Rejection accepts with min(1, p/q) and otherwise draws from what p has more than q (Leviathan et
	// al., arXiv 2211.17192): the text has the target's distribution, given an honest edge.
	Rejection
	// Lenient accepts what the target finds good enough, too: the text is not the target's.
	Lenient
)

var ruleWords = [...]string{"", "coupled", "rejection", "lenient"}

func (k RuleKind) String() string { return ruleWords[min(int(k), len(ruleWords)-1)] }

// LenientKind says what is good enough for Lenient.
type LenientKind uint8

// The values of LenientKind are those of the wire.
const (
	ByThreshold LenientKind = iota // at least Threshold times the top probability
	ByTopK                         // among the TopK most probable tokens
	ByTypical                      // p > min(Epsilon, Delta·exp(-entropy)) (Medusa, arXiv 2401.10774)
)

// Rule is the acceptance rule of one request. The zero value is coupled.
type Rule struct {
	Kind      RuleKind
	By        LenientKind // of Lenient; the rest as By says
	Threshold float32     // 0 to 1; 0: DefaultThreshold
	TopK      int         // 0: DefaultTopK
	Epsilon   float32     // 0: DefaultEpsilon
	Delta     float32     // 0: DefaultDelta; the entropy is in nats
}

// Defaults of Rule. Epsilon and delta are those of Medusa's published code.
const (
	DefaultThreshold = 0.3
	DefaultTopK      = 3
	DefaultEpsilon   = 0.09
	DefaultDelta     = 0.3
	maxRuleTopK      = 1000
)

// ErrRule is wrapped by errors about acceptance rules.
var ErrRule = errors.New("invalid acceptance rule")

// RuleForms says how rules are written, for error messages and help.
const RuleForms = "coupled, rejection, lenient, lenient:threshold=0.3, lenient:top_k=3 or lenient:typical=0.09/0.3"

func ruleError(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrRule, fmt.Sprintf(format, a...))
}

// ParseRule reads a rule in one of RuleForms; the empty word is the zero value.
func ParseRule(s string) (Rule, error) {
	word, by, detailed := strings.Cut(s, ":")
	var r Rule
	for k, w := range ruleWords {
		if w == word {
			r.Kind = RuleKind(k)
		}
	}
	if r.Kind.String() != word || detailed && r.Kind != Lenient {
		return Rule{}, ruleError("rule %q is unknown: use %s", s, RuleForms)
	}
	if detailed {
		if err := r.parseLenient(by); err != nil {
			return Rule{}, fmt.Errorf("%w: use %s", err, RuleForms)
		}
	}
	r = r.filled()
	return r, r.Validate()
}

func (r *Rule) parseLenient(s string) error {
	word, value, given := strings.Cut(s, "=")
	var numbers []float32
	for _, v := range strings.Split(value, "/") {
		if !given {
			break
		}
		f, err := strconv.ParseFloat(v, 32)
		if err != nil || f == 0 { // 0 stands for a default
			return ruleError("%q of lenient is no number above 0", v)
		}
		numbers = append(numbers, float32(f))
	}
	switch n := len(numbers); {
	case word == "threshold" && n <= 1:
		if n == 1 {
			r.Threshold = numbers[0]
		}
	case word == "top_k" && n <= 1:
		if r.By = ByTopK; n == 1 {
			if r.TopK = int(numbers[0]); float32(r.TopK) != numbers[0] {
				return ruleError("top_k=%s is no whole number", value)
			}
		}
	case word == "typical" && (n == 0 || n == 2):
		if r.By = ByTypical; n == 2 {
			r.Epsilon, r.Delta = numbers[0], numbers[1]
		}
	default:
		return ruleError("lenient by %q is unknown", s)
	}
	return nil
}

// filled puts defaults where nothing is said, and nothing where it would mean nothing.
func (r Rule) filled() Rule {
	out := Rule{Kind: r.Kind}
	if r.Kind != Lenient {
		return out
	}
	switch out.By = r.By; r.By {
	case ByThreshold:
		if out.Threshold = r.Threshold; out.Threshold == 0 {
			out.Threshold = DefaultThreshold
		}
	case ByTopK:
		if out.TopK = r.TopK; out.TopK == 0 {
			out.TopK = DefaultTopK
		}
	case ByTypical:
		if out.Epsilon, out.Delta = r.Epsilon, r.Delta; out.Epsilon == 0 {
			out.Epsilon = DefaultEpsilon
		}
		if out.Delta == 0 {
			out.Delta = DefaultDelta
		}
	}
	return out
}

// Validate says what is out of range. Errors wrap ErrRule.
func (r Rule) Validate() error {
	unit := func(name string, v float32) error {
		if !(v >= 0 && v <= 1) {
			return ruleError("%s is %g, must be between 0 and 1", name, v)
		}
		return nil
	}
	switch {
	case r.Kind > Lenient:
		return ruleError("rule %d is unknown: use %s", r.Kind, RuleForms)
	case r.By > ByTypical:
		return ruleError("lenient by %d is unknown: use %s", r.By, RuleForms)
	case r.TopK < 0 || r.TopK > maxRuleTopK:
		return ruleError("top_k is %d, must be between 1 and %d", r.TopK, maxRuleTopK)
	case !(r.Delta >= 0) || math.IsInf(float64(r.Delta), 0):
		return ruleError("delta is %g, must be 0 or more", r.Delta)
	}
	return errors.Join(unit("threshold", r.Threshold), unit("epsilon", r.Epsilon))
}

// String writes the rule as ParseRule reads it.
func (r Rule) String() string {
	if r.Kind != Lenient {
		return r.Kind.String()
	}
	switch r = r.filled(); r.By {
	case ByTopK:
		return fmt.Sprintf("lenient:top_k=%d", r.TopK)
	case ByTypical:
		return fmt.Sprintf("lenient:typical=%g/%g", r.Epsilon, r.Delta)
	}
	return fmt.Sprintf("lenient:threshold=%g", r.Threshold)
}

// Strict says whether the text is the one that the target alone writes, at a temperature.
func (r Rule) Strict(temperature float32) bool {
	return r.Kind == RuleDefault || r.Kind == Coupled || r.Kind == Rejection && temperature == 0
}

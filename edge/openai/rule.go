package openai

import (
	"strings"

	"github.com/outrider-llm/outrider/speculative"
)

// rule reads when a drafted token is accepted: {"rule": "lenient", "threshold": 0.3}, or all in one
// word, as flags have it.
func (o *object) rule() speculative.Rule {
	r, err := speculative.ParseRule(o.text("rule"))
	if err != nil {
		o.fail("rule", "invalid_value", "%s", strings.TrimPrefix(err.Error(), speculative.ErrRule.Error()+": "))
		return speculative.Rule{}
	}
	if !o.has("threshold") {
		return r
	}
	t := float32(o.number("threshold", speculative.DefaultThreshold, 0, 1))
	switch {
	case r.Kind != speculative.Lenient || r.By != speculative.ByThreshold:
		o.fail("threshold", "invalid_value", "'%sthreshold' belongs to the rule lenient: set 'rule' to \"lenient\", or leave it out", o.path)
	case t == 0:
		o.fail("threshold", "invalid_value", "'%sthreshold' must be above 0 and at most 1", o.path)
	default:
		r.Threshold = t
	}
	return r
}

// rules are the kinds that requests may ask for.
func rules() []string {
	return []string{speculative.Coupled.String(), speculative.Rejection.String(), speculative.Lenient.String()}
}

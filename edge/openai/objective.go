package openai

import (
	"strings"

	"github.com/outrider-llm/outrider/speculative"
)

// objective reads what speculation is to save.
func (o *object) objective() speculative.Objective {
	v, err := speculative.ParseObjective(o.text("objective"))
	if err != nil {
		o.fail("objective", "invalid_value", "%s", strings.TrimPrefix(err.Error(), speculative.ErrObjective.Error()+": "))
	}
	return v
}

package main

import (
	"fmt"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// ruleLine says what a rule other than the strict ones means for an answer, empty for those.
func ruleLine(s *outriderv1.Summary) string {
	switch s.GetRule().GetKind() {
	case outriderv1.RuleKind_RULE_KIND_REJECTION:
		if !s.GetExact() {
			return "lossless by rejection"
		}
	case outriderv1.RuleKind_RULE_KIND_LENIENT:
		return fmt.Sprintf("lenient: %d tokens that the target would not have chosen", s.GetUsage().GetLenient())
	}
	return ""
}

// ruleJSON is the rule of an answer as JSON has it.
func ruleJSON(s *outriderv1.Summary, out map[string]any) map[string]any {
	rule, err := backend.RuleFromProto(s.GetRule())
	if err != nil || rule.Kind == speculative.RuleDefault {
		rule.Kind = speculative.Coupled // of an older edge
	}
	out["rule"], out["lossless"], out["lenient_accepted"] = rule.String(), s.GetLossless(), s.GetUsage().GetLenient()
	return out
}

package main

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func TestRuleFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // "!": refused
	}{
		{nil, ""},
		{[]string{"--rule", "rejection"}, "rejection"},
		{[]string{"--rule", "lenient"}, "lenient:threshold=0.3"},
		{[]string{"--rule", "lenient", "--threshold", "0.5"}, "lenient:threshold=0.5"},
		{[]string{"--rule", "lenient:typical"}, "lenient:typical=0.09/0.3"},
		{[]string{"--rule", "lenient", "--threshold", "2"}, "!"},
		{[]string{"--threshold", "0.5"}, "!"},
		{[]string{"--rule", "lenient:top_k=3", "--threshold", "0.5"}, "!"},
		{[]string{"--rule", "strict"}, "!"},
	} {
		var f requestFlags
		set := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.add(set)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		g, err := f.request()
		if c.want == "!" {
			if err == nil {
				t.Errorf("%v: taken", c.args)
			}
			continue
		}
		r, bad := backend.RuleFromProto(g.GetRule())
		if err != nil || bad != nil || r.String() != c.want {
			t.Errorf("%v: %v %v %v, want %q", c.args, r, err, bad, c.want)
		}
	}
}

func TestRuleOfAnswer(t *testing.T) {
	for s, want := range map[*outriderv1.Summary]string{
		{Exact: true}: "",
		{Rule: backend.RuleToProto(speculative.Rule{Kind: speculative.Rejection}), Lossless: true}:                     "lossless by rejection",
		{Rule: backend.RuleToProto(speculative.Rule{Kind: speculative.Rejection}), Exact: true}:                        "",
		{Rule: backend.RuleToProto(speculative.Rule{Kind: speculative.Lenient}), Usage: &outriderv1.Usage{Lenient: 7}}: "lenient: 7 tokens that the target would not have chosen",
	} {
		if got := ruleLine(s); got != want {
			t.Errorf("%v: %q, want %q", s, got, want)
		}
	}
}

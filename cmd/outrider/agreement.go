package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/outrider-llm/outrider/bench/trace"
)

// agreement is the flag --agreement: a rate, or trace:FILE.
type agreement struct {
	rate float64
	file string
	set  *trace.Set
}

func (a *agreement) String() string {
	if a.set != nil {
		return "trace:" + a.file
	}
	return strconv.FormatFloat(a.rate, 'g', -1, 64)
}

// Set reads the flag's value. The range of a rate is checked with the rest.
func (a *agreement) Set(s string) error {
	file, isTrace := strings.CutPrefix(s, "trace:")
	if !isTrace {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%q is neither a rate between 0 and 1 nor trace:FILE", s)
		}
		*a = agreement{rate: v}
		return nil
	}
	set, err := trace.ReadFile(file)
	if err != nil {
		return err
	}
	rate, _, _ := set.Rates()
	*a = agreement{rate: rate, file: file, set: set}
	return nil
}

// Type is shown in the help.
func (a *agreement) Type() string { return "rate|trace:FILE" }

// told says it in a sentence's part.
func (a *agreement) told(f *simulateFlags) string {
	if a.set == nil {
		return fmt.Sprintf("the draft agrees with %g of the target's tokens (Beta spread %g), its second choice with %g of the rest; its confidence is %s",
			a.rate, f.spread, f.second, f.confidence)
	}
	h := a.set.Header
	_, second, n := a.set.Rates()
	return fmt.Sprintf("agreement and confidence are those recorded of %s with %s at temperature %g: %d positions of %d sessions, drawn with replacement; "+
		"%.3f agree, the second choice with %.3f of the rest", h.Target, h.Draft, h.Temperature, n, len(a.set.Sessions), a.rate, second)
}

// assumed corrects what the assumptions say.
func (a *agreement) assumed(m map[string]any) {
	if a.set == nil {
		return
	}
	_, second, n := a.set.Rates()
	m["agreement_trace"], m["agreement_positions"], m["agreement_sessions"] = a.file, n, len(a.set.Sessions)
	m["second_choice"], m["confidence"] = second, "recorded"
	delete(m, "agreement_spread")
}

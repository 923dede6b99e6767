package cloud

import (
	"fmt"

	"github.com/outrider-llm/outrider/drafter/lookup"
	"github.com/outrider-llm/outrider/speculative"
)

// Draft is what the cloud itself proposes where proposals of an edge leave room (protocol.md, rule 4).
type Draft uint8

// The values of Draft.
const (
	DraftOff    Draft = iota
	DraftLookup       // what came after the same tokens before, in the session's own log; takes no time
)

// ParseDraft reads off or lookup.
func ParseDraft(s string) (Draft, error) {
	for d := DraftOff; d <= DraftLookup; d++ {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("draft %q is unknown: use off or lookup", s)
}

func (d Draft) String() string { return [...]string{"off", "lookup"}[min(d, 1)] }

// leastOwn is the share of right guesses below which one is not worth asking for the next.
const leastOwn = 0.1

// own is a new session's source. Other rules than the coupled one have none: what they decide depends on what
// is proposed, so the edge could not tell what its own proposals did.
func (l *loop) own(rule speculative.Rule) speculative.Own {
	if l.c.Draft == DraftOff || rule.Kind != speculative.RuleDefault && rule.Kind != speculative.Coupled {
		return speculative.Own{}
	}
	if l.c.guess != nil {
		return speculative.Own{Guess: l.c.guess}
	}
	var text *lookup.Lookup // made when it is first asked: most sessions of a busy cloud never do
	told := 0
	return speculative.Own{Guess: func(log, path []speculative.Token) (speculative.Choice, bool) {
		if text == nil {
			text, told = lookup.New(log, nil), len(log)
		}
		text.Commit(log[told:])
		told = len(log)
		g, ok := text.Guess(path)
		return speculative.Choice{Token: g.Token, Confidence: float32(g.Confidence), Second: -1}, ok && g.Confidence >= leastOwn
	}}
}

package cloud

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/outrider-llm/outrider/speculative"
)

// The cloud proposes, right half of the time and sometimes tokens of other sessions' seeds: the output stays the
// target's, passes become fewer, and what it proposed is told.
func TestOwnDraftsAreLossless(t *testing.T) {
	const seed = 7
	guess := func(log, path []speculative.Token) (speculative.Choice, bool) {
		full := slices.Concat(log, path)
		c := speculative.Choice{Token: toyNext(seed, full), Confidence: 0.8}
		if full[len(full)-1]%2 == 0 {
			c.Token = (c.Token + 1) % 49
		}
		return c, true
	}
	for _, trees := range []bool{true, false} {
		m := newToy()
		m.info.Trees = trees
		r := start(t, m, Config{Draft: DraftLookup, guess: guess})
		var wg sync.WaitGroup
		var own, passes, tokens atomic.Int64
		for i := range uint64(12) {
			wg.Go(func() {
				o := open(i, promptOf(i, 1+int(i)), 120)
				o.Sampling.Seed = seed
				n := newNaive(t, o)
				n.agree, n.quiet = float64(i%3)/2, i%2 == 0
				if err := n.run(t.Context(), r.c); err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
				n.check()
				u := n.usage
				own.Add(int64(u.GetOwnAccepted()))
				if n.quiet {
					passes.Add(int64(u.GetPasses()))
					tokens.Add(int64(len(n.log)) - int64(o.GetPromptLength()))
				}
				if u.GetOwnAccepted() > u.GetOwnJudged() || u.GetAccepted() != uint64(n.fates[1]) {
					t.Errorf("session %d: %v", i, u)
				}
			})
		}
		wg.Wait()
		if own.Load() == 0 || passes.Load() >= tokens.Load() {
			t.Errorf("trees %t: %d of the cloud's own held; %d passes for %d tokens", trees, own.Load(), passes.Load(), tokens.Load())
		}
	}
}

// Lookup proposes what the log says, and nothing under rules for which proposals matter.
func TestOwnSource(t *testing.T) {
	l := &loop{c: &Config{Draft: DraftLookup}}
	log := []speculative.Token{1, 2, 3, 4, 5, 1, 2, 3}
	o := l.own(speculative.Rule{})
	if c, ok := o.Guess(log, nil); !ok || c.Token != 4 {
		t.Errorf("after 1 2 3: %+v %t", c, ok)
	}
	if c, ok := o.Guess(append(log, 4), []speculative.Token{5}); !ok || c.Token != 1 {
		t.Errorf("after 4 5: %+v %t", c, ok)
	}
	if _, ok := o.Guess([]speculative.Token{1, 2, 3, 4, 5, 1, 2, 3, 4, 9}, nil); ok {
		t.Error("a guess after what never was")
	}
	for _, k := range []speculative.RuleKind{speculative.Rejection, speculative.Lenient} {
		if l.own(speculative.Rule{Kind: k}).Guess != nil {
			t.Errorf("%s has a source", speculative.Rule{Kind: k})
		}
	}
	if (&loop{c: &Config{}}).own(speculative.Rule{}).Guess != nil {
		t.Error("off has a source")
	}
	for _, d := range []Draft{DraftOff, DraftLookup} {
		if got, err := ParseDraft(d.String()); got != d || err != nil {
			t.Errorf("%s: %v %v", d, got, err)
		}
	}
	if _, err := ParseDraft("model"); err == nil {
		t.Error("a draft that there is not is taken")
	}
}

package edge

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/edge/router"
	"github.com/outrider-llm/outrider/speculative"
)

func policy(t *testing.T, text string) *router.Router {
	t.Helper()
	p, err := router.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return router.New(p, nil)
}

// doubtful hands over from the 40th token on: the toy draft is unsure just where it is wrong, so it shall go
// on a while.
const doubtful = `
begin: [{rule: try, when: "true", to: try_device}]
during: [{rule: doubt, when: "draft.tokens >= 40 && draft.confidence_min < 0.7", to: PLACE, why: it is unsure}]
`

// What the draft wrote becomes a proposal: the cloud goes on from the first token that it disagrees with,
// and the answer is the target's.
func TestEscalation(t *testing.T) {
	r := newRig(t, link.Config{RTT: 10 * time.Millisecond}, func(r *rig) {
		r.draft.misses = 3
		r.config.Mode = ModeAuto
		r.config.Router = policy(t, strings.Replace(doubtful, "PLACE", "cooperative", 1))
	})
	r.target.step = 2 * time.Millisecond
	escalated, kept := 0, 0
	for seed := range 12 {
		req := request(seed, 80)
		got, sum := r.generate(req, nil)
		ro := sum.Routing
		mine := r.draft.oracle(req.Params, req.Tokens, 90)
		if ro.EscalatedAt == 0 {
			if ro.Where != OnDevice || !slices.Equal(got.tokens, mine) || sum.Exact || sum.Opening > 0 {
				t.Errorf("seed %d: %+v, got %v, the draft says %v", seed, ro, got.tokens, mine)
			}
			continue
		}
		escalated++
		r.identical(req, got)
		same := speculative.Common(mine, r.target.oracle(req.Params, req.Tokens, 90))
		if ro.Where != Cooperative || ro.Rule != "doubt" || ro.EscalatedAt < 40 || ro.Shown != 0 || ro.Kept != min(same, ro.EscalatedAt) ||
			!sum.Exact || sum.Unverified > 0 {
			t.Errorf("seed %d: %+v, they agree on %d; %+v", seed, ro, same, sum)
		}
		kept += ro.Kept
		if u := sum.Usage; u.Accepted < ro.Kept*3/4 || u.Passes > sum.Tokens-ro.Kept*3/4 {
			t.Errorf("seed %d: what the draft wrote was not taken as a proposal: %+v kept, %+v", seed, ro, u)
		}
	}
	if escalated < 3 || kept < 60 {
		t.Errorf("%d escalations that kept %d tokens say nothing", escalated, kept)
	}
	r.empty()
}

// To the cloud alone: what is written is proposed, and nothing is drafted from then on.
func TestEscalationToCloudAlone(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.draft.misses = 3
		r.config.Router = policy(t, strings.Replace(doubtful, "PLACE", "cloud", 1))
	})
	for seed := range 12 {
		req := request(seed, 120)
		req.Mode = ModeAuto
		got, sum := r.generate(req, nil)
		if sum.Routing.EscalatedAt == 0 {
			continue
		}
		r.identical(req, got)
		if sum.Routing.Where != InCloud || sum.Drafted > 0 || sum.Usage.Judged > sum.Routing.EscalatedAt {
			t.Errorf("seed %d: %+v", seed, sum)
		}
	}
}

// What was given out stays, and is marked; the target goes on from there.
func TestEscalationAfterShowing(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.draft.misses = 3
		r.config.Router = policy(t, strings.Replace(doubtful, "PLACE", "cooperative", 1))
	})
	seen := 0
	for seed := range 12 {
		req := request(seed, 80)
		req.Mode, req.Hold = ModeAuto, 8
		got, sum := r.generate(req, nil)
		ro := sum.Routing
		if ro.EscalatedAt == 0 {
			continue
		}
		seen++
		if ro.Shown != ro.EscalatedAt-1-8 || sum.Unverified != ro.Shown || sum.Exact {
			t.Errorf("seed %d: %+v, %d unverified", seed, ro, sum.Unverified)
		}
		mine := r.draft.oracle(req.Params, req.Tokens, 90)[:ro.Shown]
		log := append(slices.Clone(req.Tokens), mine...)
		want := append(mine, r.target.follow(req.Params, len(req.Tokens), log, 90)...)
		if !slices.Equal(got.tokens, want) {
			t.Errorf("seed %d:\ngot  %v\nwant %v", seed, got.tokens, want)
		}
		for i, k := range got.all {
			if k.Unverified != (i < ro.Shown) {
				t.Errorf("seed %d: token %d is unverified: %v", seed, i, k.Unverified)
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d escalations", seen)
	}
}

// With no cloud in reach the draft goes on with what it began.
func TestEscalationWithoutCloud(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.FallbackAfter = 50 * time.Millisecond
		r.config.Router = policy(t, strings.Replace(doubtful, "PLACE", "cooperative", 1))
	})
	r.cloud.kill()
	req := request(1, 80)
	req.Mode = ModeAuto
	got, sum := r.generate(req, nil)
	if want := r.draft.oracle(req.Params, req.Tokens, 90); !slices.Equal(got.tokens, want) || sum.Routing.Where != OnDevice || sum.Routing.EscalatedAt == 0 {
		t.Errorf("%+v\ngot  %v\nwant %v", sum.Routing, got.tokens, want)
	}
	r.empty()
}

// The policy may keep a request on the device, and what must stay there fails where there is no draft.
func TestPolicyKeepsPrivateData(t *testing.T) {
	tok := demoTokenizer(t)
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.Tokenizer, r.config.Vocabulary, r.config.Mode = tok, "", ModeAuto
		for _, m := range []*toy{r.target, r.draft} {
			m.info.VocabularySize, m.info.Vocabulary = tok.Size(), tok.Fingerprint()
		}
	})
	c := &collect{t: t}
	for text, rule := range map[string]string{"Write to tim@example.org": "private", "Write a story": "simple"} {
		sum, err := r.edge.Generate(t.Context(), Request{Prompt: text, MaxTokens: 24}, c.emit)
		if err != nil || sum.Routing.Rule != rule && sum.Routing.EscalatedAt == 0 {
			t.Errorf("%s: %+v %v", text, sum.Routing, err)
		}
		if rule == "private" && sum.Opening > 0 {
			t.Errorf("%s: %d bytes went up", text, sum.Opening)
		}
	}
	none := newRig(t, link.Config{}, func(r *rig) {
		r.draft = nil
		r.config.Tokenizer, r.config.Vocabulary, r.config.Mode = tok, "", ModeAuto
		r.target.info.VocabularySize, r.target.info.Vocabulary = tok.Size(), tok.Fingerprint()
	})
	_, err := none.edge.Generate(t.Context(), Request{Prompt: "Write to tim@example.org", MaxTokens: 4}, c.emit)
	wantError(t, err, ErrDevice)
	if sum, err := none.edge.Generate(t.Context(), Request{Prompt: "Write a story", MaxTokens: 4}, c.emit); err != nil || sum.Routing.Where != InCloud {
		t.Errorf("%+v %v", sum.Routing, err)
	}
}

// Outcomes are recorded with facts, and the draft's agreement becomes one.
func TestOutcomes(t *testing.T) {
	var mu sync.Mutex
	var records []router.Record
	r := newRig(t, link.Config{RTT: 10 * time.Millisecond}, func(r *rig) {
		r.target.step = 2 * time.Millisecond
		r.config.Record = func(x router.Record) {
			mu.Lock()
			defer mu.Unlock()
			records = append(records, x)
		}
	})
	for seed := range 4 {
		r.generate(request(seed, 60), nil)
	}
	if len(records) == 0 {
		t.Fatal("nothing was recorded")
	}
	for _, x := range records {
		if x.Agreement <= 0.3 || x.Agreement > 1 || x.Tokens < leastJudged || x.Where != Cooperative || x.Facts["draft.confidence"].(float64) < 0.5 {
			t.Errorf("%+v", x)
		}
	}
	f := router.Facts{}
	r.edge.seen.facts(f)
	if a := f["draft.agreement"].(float64); a < 0.4 || a > 1 || f["cloud.load"] != 1.0 {
		t.Errorf("%v", f)
	}
}

package edge

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func rule(t *testing.T, s string) speculative.Rule {
	t.Helper()
	r, err := speculative.ParseRule(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each rule through edge, wire, cloud and engines: strict rules write what the target writes alone, the
// others say that they do not; and what is measured of them fits.
func TestRulesEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("loads models")
	}
	tok := demoTokenizer(t)
	target, draft := reference1(t, models.TargetName), reference1(t, models.DraftName)
	r := newRig(t, link.Config{RTT: 4 * time.Millisecond}, func(r *rig) {
		r.config.Tokenizer, r.config.Vocabulary, r.config.Draft, r.draft = tok, "", draft, nil
		r.cloud.config.Targets = []cloud.Target{{Name: "demo", Model: backend.Paced(target, 15*time.Millisecond, 0), Bytes: tok.Bytes}}
	})
	type outcome struct {
		ids []Token
		sum Summary
	}
	run := func(s string, temperature float32, c *Constraint) outcome {
		var o outcome
		req := Request{Prompt: "Once upon a time there was a little girl. She", MaxTokens: 48, Rule: rule(t, s), Constraint: c,
			Params: speculative.Params{Temperature: temperature, Seed: 5}}
		var err error
		if o.sum, err = r.edge.Generate(t.Context(), req, func(e Event) error {
			for _, k := range e.Tokens {
				o.ids = append(o.ids, k.ID)
			}
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		u := o.sum.Usage
		t.Logf("%-24s T %g: %d of %d accepted, %d leniently, %d B up, exact %t, lossless %t: %.60q", s, temperature, u.Accepted, u.Judged, u.Lenient, o.sum.Uplink,
			o.sum.Exact, o.sum.Lossless, tok.Decode(o.ids))
		if u.Accepted == 0 {
			t.Errorf("%s at %g: nothing is accepted", s, temperature)
		}
		return o
	}
	for _, temperature := range []float32{0, 1} {
		strict := run("coupled", temperature, nil)
		if !strict.sum.Exact || !strict.sum.Lossless || strict.sum.Rule.Kind != speculative.Coupled {
			t.Errorf("coupled: %+v", strict.sum)
		}
		if o := run("", temperature, nil); !slices.Equal(o.ids, strict.ids) || o.sum.Rule.Kind != speculative.Coupled {
			t.Errorf("no rule is not coupled: %+v", o.sum)
		}
		o := run("rejection", temperature, nil)
		if !o.sum.Lossless || o.sum.Exact != (temperature == 0) || o.sum.Usage.Lenient != 0 {
			t.Errorf("rejection: %+v", o.sum)
		}
		if same := slices.Equal(o.ids, strict.ids); same != (temperature == 0) {
			t.Errorf("rejection at temperature %g writes the same as coupled: %t", temperature, same)
		}
		if o := run("lenient:threshold=1", 0, nil); !slices.Equal(o.ids, run("coupled", 0, nil).ids) {
			t.Error("nothing is as good as the best, and yet another text")
		}
		lenient := 0
		for _, s := range []string{"lenient:threshold=0.05", "lenient:top_k=5", "lenient:typical"} {
			o := run(s, temperature, nil)
			if o.sum.Exact || o.sum.Lossless || o.sum.Usage.Lenient > o.sum.Usage.Accepted {
				t.Errorf("%s: %+v", s, o.sum)
			}
			lenient += o.sum.Usage.Lenient
		}
		if lenient == 0 {
			t.Errorf("at temperature %g nothing is accepted that the strict rule refuses", temperature)
		}
		for _, s := range []string{"rejection", "lenient:threshold=0.05"} {
			c := &Constraint{Kind: "regex", Source: ` ?(She|He) [a-z]+ (the|a) [a-z]+\\. The [a-z ]{20}\\.`}
			text := tok.Decode(run(s, temperature, c).ids)
			if !strings.HasPrefix(strings.TrimSpace(text), "She ") && !strings.HasPrefix(strings.TrimSpace(text), "He ") {
				t.Errorf("%s under a regular expression wrote %q", s, text)
			}
		}
	}
}

// Streams break and open again under every rule: what was given out stays, and the session ends in good order.
func TestRulesResume(t *testing.T) {
	for _, s := range []string{"rejection", "lenient:threshold=0.2"} {
		t.Run(s, func(t *testing.T) {
			r := newRig(t, link.Config{RTT: 6 * time.Millisecond}, func(r *rig) {
				r.target.info.Rules, r.draft.info.Rules = true, true
				r.config.Rule = rule(t, s)
			})
			req := request(3, 120)
			cut := 0
			got, sum := r.generate(req, func(n int) {
				if n > 30*(cut+1) && cut < 3 {
					cut++
					r.link.Cut()
				}
			})
			if sum.Resumes == 0 || len(got.tokens) != sum.Tokens || sum.Rule != rule(t, s) {
				t.Errorf("%d tokens given out, %+v", len(got.tokens), sum)
			}
			r.identical(req, got) // the toys know one text only, whatever the rule
			r.empty()
		})
	}
}

// A cloud or a target that cannot do it says so; nobody gets another rule than he asked for.
func TestRulesRefused(t *testing.T) {
	old := scripted(t, func(int, *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
		return []*outriderv1.DecodeResponse{openedMessage()}, nil
	})
	r := newRig(t, link.Config{})
	for name, e := range map[string]*Edge{"older than this edge": old, "no rule but coupled": r.edge} {
		for _, s := range []string{"rejection", "lenient"} {
			req := request(1, 10)
			req.Rule = rule(t, s)
			_, err := e.Generate(t.Context(), req, func(Event) error { return nil })
			if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v, want %q", s, err, name)
			}
		}
	}
	req := request(1, 10)
	req.Rule = speculative.Rule{Kind: 9}
	_, err := r.edge.Generate(t.Context(), req, func(Event) error { return nil })
	wantError(t, err, ErrRequest)
}

package edge

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// The figures of docs/tuning.md: the demo pair, an answer as predicted but for some words, and one that the
// prompt holds already.
func TestLookupSpeed(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("takes two minutes: set OUTRIDER_VERIFY=1")
	}
	tok := demoTokenizer(t)
	target, draft := reference1(t, models.TargetName), reference1(t, models.DraftName)
	const n, rounds = 96, 3
	story := "Once upon a time, there was a little girl named Lily. She loved to play"
	say := func(prompt string) string {
		return tok.Decode(alone(t, target, speculative.Params{}, tok.Encode(prompt, tokenizer.Options{AddBOS: tok.AddBOS()}), n))
	}
	answer := say(story)
	again := story + answer + "\n" + story // the same story is told once more
	median := map[string]time.Duration{}
	for _, c := range []struct {
		name, prompt, prediction string
		draft                    bool
		lookup                   Lookup
	}{
		{"story, target alone", story, "", false, LookupOff},
		{"story, draft", story, "", true, LookupOff},
		{"story, draft, lookup", story, "", true, LookupAuto},
		{"story, draft, 1 word in 12 wrong", story, edited(answer, 12), true, LookupAuto},
		{"story, draft, 1 word in 24 wrong", story, edited(answer, 24), true, LookupAuto},
		{"story, draft, exact prediction", story, answer, true, LookupAuto},
		{"story, draft, wrong prediction", story, strings.Repeat("func main() { panic(1) }\n", 20), true, LookupAuto},
		{"story, 1 word in 12 wrong", story, edited(answer, 12), false, LookupAuto},
		{"again, draft", again, "", true, LookupOff},
		{"again, draft, lookup", again, "", true, LookupAuto},
		{"again, lookup", again, "", false, LookupAlways},
	} {
		r := newRig(t, link.Config{RTT: 40 * time.Millisecond}, func(r *rig) {
			r.config.Tokenizer, r.config.Vocabulary, r.draft, r.config.Lookup, r.config.Branches, r.config.Conversations = tok, "", nil, c.lookup, true, -1
			if c.draft {
				r.config.Draft = draft
			}
			r.cloud.config.Targets = []cloud.Target{{Name: "demo", Model: backend.Paced(target, 40*time.Millisecond, 300*time.Microsecond), Bytes: tok.Bytes}}
		})
		var took []time.Duration
		var s Summary
		for range rounds {
			var err error
			if s, err = r.edge.Generate(context.Background(), Request{Prompt: c.prompt, Prediction: c.prediction, MaxTokens: n}, (&collect{}).emit); err != nil {
				t.Fatal(err)
			}
			took = append(took, s.Total/time.Duration(s.Tokens))
		}
		slices.Sort(took)
		median[c.name] = took[1]
		t.Logf("%-32s %5.1f ms/token (%5.1f to %5.1f), %.2f passes a token, accepted %d of %d judged, looked up %d, predicted %d+%d, %d B up", c.name, ms(took[1]), ms(took[0]), ms(took[2]),
			float64(s.Usage.Passes)/float64(s.Tokens), s.Usage.Accepted, s.Usage.Judged, s.LookedUp, s.PredictionAccepted, s.PredictionRejected, s.Uplink)
	}
	for faster, than := range map[string]string{"story, 1 word in 12 wrong": "story, target alone", "story, draft, exact prediction": "story, draft"} {
		if median[faster] >= median[than] {
			t.Errorf("%s takes %s, %s %s", faster, median[faster], than, median[than])
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

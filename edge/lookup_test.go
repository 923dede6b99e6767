package edge

import (
	"context"
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

// edited is a text with other words here and there.
func edited(text string, every int) string {
	words := strings.Split(text, " ")
	for i := 5; i < len(words); i += every {
		words[i] = "purple"
	}
	return strings.Join(words, " ")
}

// Whatever is predicted and repeated, the answer is the target's; a prediction that is nearly right saves
// passes, with a draft and without.
func TestLookupKeepsTheAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("loads models")
	}
	tok := demoTokenizer(t)
	target, draft := reference1(t, models.TargetName), reference1(t, models.DraftName)
	const n = 40
	for _, with := range []backend.Model{nil, draft} {
		r := newRig(t, link.Config{RTT: 10 * time.Millisecond}, func(r *rig) {
			r.config.Tokenizer, r.config.Vocabulary, r.config.Draft, r.draft = tok, "", with, nil
			r.config.Lookup = LookupAlways
			r.cloud.config.Targets = []cloud.Target{{Name: "demo", Model: backend.Paced(target, 6*time.Millisecond, 0), Bytes: tok.Bytes}}
		})
		for _, temperature := range []float32{0, 1} {
			req := Request{Prompt: "Once upon a time there was a little girl. She", MaxTokens: n, Params: speculative.Params{Temperature: temperature, Seed: 7}}
			want := alone(t, target, req.Params, tok.Encode(req.Prompt, tokenizer.Options{AddBOS: tok.AddBOS()}), n)
			text := tok.Decode(want)
			for name, prediction := range map[string]string{"none": "", "nearly right": edited(text, 12), "other text": "func main() { panic(1) }\n",
				"huge": strings.Repeat("She was very happy. \x00日本<|endoftext|></s>", 100000), "its end": text[len(text)/2:]} {
				req.Prediction = prediction
				c := &collect{}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				s, err := r.edge.Generate(ctx, req, c.emit)
				cancel()
				if err != nil || !slices.Equal(c.tokens, want) {
					t.Errorf("draft %v, temperature %v, %s: %v\ngot  %q\nwant %q", with != nil, temperature, name, err, c.text, text)
				}
				t.Logf("draft %v, temperature %v, %s: %d tokens, %d passes, %d accepted of %d judged, drafted %d, looked up %d, predicted %d+%d", with != nil,
					temperature, name, s.Tokens, s.Usage.Passes, s.Usage.Accepted, s.Usage.Judged, s.Drafted, s.LookedUp, s.PredictionAccepted, s.PredictionRejected)
				if name == "nearly right" && (s.PredictionAccepted < s.Tokens/2 || s.Usage.Passes > s.Tokens*3/4) {
					t.Errorf("draft %v: %d of %d tokens are as predicted, %d passes", with != nil, s.PredictionAccepted, s.Tokens, s.Usage.Passes)
				}
			}
		}
	}
}

// Without a draft, only what a request asks for is proposed; off proposes nothing.
func TestLookupIsAsConfigured(t *testing.T) {
	tok := demoTokenizer(t)
	voc := &vocabulary{tok: tok}
	for _, c := range []struct {
		lookup     Lookup
		draft      bool
		prediction string
		no         bool
		want       bool
	}{
		{LookupAuto, false, "", false, false},
		{LookupAuto, false, "x", false, true},
		{LookupAuto, true, "", false, true},
		{LookupAuto, true, "x", true, false},
		{LookupOff, true, "x", false, false},
		{LookupAlways, false, "", false, true},
	} {
		v := *voc
		if c.draft {
			v.draft = newToy(0)
		}
		s := &session{e: &Edge{c: Config{Lookup: c.lookup}, link: &uplink{}}, r: Request{Prediction: c.prediction, NoDraft: c.no}, voc: &v, prompt: []Token{1}}
		if s.lookup(); (s.look != nil) != c.want {
			t.Errorf("%+v: looked up %v", c, s.look != nil)
		}
	}
}

// A prediction is cut to what the target could say, between characters, and forges no special token.
func TestPredictionIsBounded(t *testing.T) {
	s := &session{e: &Edge{link: &uplink{contexts: map[string]int{"": 100}}}, voc: &vocabulary{tok: demoTokenizer(t)}}
	for _, text := range []string{strings.Repeat("日本語", 1000), strings.Repeat("a b ", 1<<18)} {
		s.r.Prediction = text
		if got := s.prediction(); len(got) == 0 || len(got) > 100 || !strings.HasPrefix(text, strings.TrimSuffix(s.voc.tok.Decode(got), "\ufffd")) {
			t.Errorf("%d tokens: %q", len(got), s.voc.tok.Decode(got))
		}
	}
	s.r.Prediction = "</s><|endoftext|>"
	for _, k := range s.prediction() {
		if slices.Contains(s.voc.tok.EndTokens(), k) {
			t.Errorf("the text has become an end token")
		}
	}
	e := &Edge{c: Config{}}
	if _, err := e.newSession(t.Context(), Request{Prediction: "x"}, &route{}, &vocabulary{}, []Token{1}, time.Now()); err == nil || !strings.Contains(err.Error(), "prediction") {
		t.Errorf("without a tokenizer: %v", err)
	}
}

func TestParseLookup(t *testing.T) {
	for _, w := range []string{"auto", "off", "always"} {
		if l, err := ParseLookup(w); err != nil || l.String() != w {
			t.Errorf("%s: %v %v", w, l, err)
		}
	}
	if _, err := ParseLookup("on"); err == nil || !strings.Contains(err.Error(), "always") {
		t.Errorf("on: %v", err)
	}
}

package edge

import (
	"slices"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

// TestConversationsChangeNothing: the demo pair answers the same with and without what is kept of
// earlier turns, at temperature 0 and 1, in the conversations that the chat format writes.
func TestConversationsChangeNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("loads models")
	}
	tok := demoTokenizer(t)
	load := func(name string) *reference.Engine {
		m, err := reference.Load(t.Context(), name, map[string]string{"threads": "1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m.(*reference.Engine)
	}
	target, draft := load(models.TargetName), load(models.DraftName)
	defer func() { _, _ = target.Close(), draft.Close() }()
	asks := []string{"Tell me a story about a cat.", "What did the cat do then?", "And how did it end?"}
	type answer struct {
		tokens []Token
		text   string
	}
	var answers [2][]answer
	for keep, n := range []int{-1, 8} {
		r := newRig(t, link.Config{RTT: 2 * time.Millisecond}, func(r *rig) {
			r.config.Tokenizer, r.config.Vocabulary, r.config.Draft, r.draft, r.config.Conversations = tok, "", draft, nil, n
			r.cloud.config.Targets = []cloud.Target{{Name: "demo", Model: target, Bytes: tok.Bytes}}
		})
		for _, temperature := range []float32{0, 1} {
			var said []Message
			had := 0
			for turn, ask := range asks {
				said = append(said, Message{Role: "user", Content: ask})
				c := &collect{}
				s, err := r.edge.Generate(t.Context(), Request{Messages: said, MaxTokens: 24, User: string('a' + rune(temperature)),
					Params: speculative.Params{Temperature: temperature, Seed: uint64(turn), RepetitionPenalty: 1.1}}, c.emit)
				if err != nil {
					t.Fatal(err)
				}
				said = append(said, Message{Role: "assistant", Content: c.text})
				answers[keep] = append(answers[keep], answer{c.tokens, c.text})
				t.Logf("temperature %g, turn %d: %d prompt tokens, %d known before, %d named, %d held, the draft %d, %d B: %q",
					temperature, turn+1, s.PromptTokens, had, s.Prefix, s.Usage.Held, s.DraftHeld, s.Opening, c.text)
				if (s.Usage.Held > 0) != (keep > 0 && turn > 0) {
					t.Errorf("turn %d: %d rows held", turn+1, s.Usage.Held)
				}
				had = s.PromptTokens + s.Tokens
			}
		}
		_ = r.edge.Close()
		r.cloud.kill()
	}
	for i := range answers[0] {
		if !slices.Equal(answers[0][i].tokens, answers[1][i].tokens) {
			t.Errorf("answer %d: %q without, %q with what is kept", i, answers[0][i].text, answers[1][i].text)
		}
	}
}

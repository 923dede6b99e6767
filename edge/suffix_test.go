package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/drafter/suffix"
	"github.com/outrider-llm/outrider/tokenizer"
)

// What one session's answer said is proposed where it may go, and nowhere else: not for another user, under
// another privacy policy or to another target; nor after it was forgotten, nor with the store switched off.
func TestSecretsStayInTheirPartition(t *testing.T) {
	const secret = "dragon seven"
	store := suffix.New()
	r, p := privateRig(t, func(r *rig) {
		r.config.Suffix, r.config.Draft, r.draft = store, nil, nil
		r.cloud.config.Targets = []cloud.Target{{Name: "big", Model: backend.Paced(r.target, 8*time.Millisecond, 0), Bytes: r.config.Tokenizer.Bytes}}
	})
	tok := r.config.Tokenizer
	said := tok.Encode("The little girl had a word for the door. It was dragon seven and she said it.", tokenizer.Options{})
	other := tok.Encode("The little girl had a word for the door. It was big and she said it to her mother.", tokenizer.Options{})
	ask := func(q Request, answer []Token) (heard bool, s Summary) {
		t.Helper()
		r.target.script = answer
		p.mu.Lock()
		p.proposed, p.log = nil, nil
		p.raw.Reset()
		p.mu.Unlock()
		q.Prompt, q.MaxTokens = "Tell me a story", len(answer)
		c := &collect{t: t}
		s, err := r.edge.Generate(t.Context(), q, c.emit)
		if err != nil {
			t.Fatal(err)
		}
		return p.holds(secret), s
	}
	if heard, _ := ask(Request{User: "ada"}, said); heard {
		t.Fatal("proposed before it was said")
	}
	for name, q := range map[string]Request{"another user": {User: "eve"}, "no user": {}, "stricter": {User: "ada", Privacy: PrivacyPlaceholders}, "strictest": {User: "ada", Privacy: PrivacyOnDevice}} {
		if heard, _ := ask(q, other); heard {
			t.Errorf("%s: the secret went up", name)
		}
	}
	heard, s := ask(Request{User: "ada"}, other)
	if n := s.Sources[SourceSuffix]; !heard || n.Proposed == 0 || n.Accepted == 0 || n.Accepted >= n.Proposed {
		t.Errorf("the same user: heard %t, %+v", heard, n)
	}
	if store.Forget("ada") == 0 {
		t.Error("nothing was kept")
	}
	if heard, _ := ask(Request{User: "ada"}, other); heard {
		t.Error("forgotten, but proposed")
	}
}

// Under placeholders no source of proposals has ever seen what is private: a secret that stands in the prompt, in the
// prediction and in the answer, which says the prompt again, goes up from none of them. The user reads it.
func TestSecretInEveryDrafter(t *testing.T) {
	const secret = "ada@example.org"
	for _, source := range []string{"model", "lookup", "prediction", "suffix"} {
		for _, action := range []Privacy{PrivacyOff, PrivacyPlaceholders} {
			r, p := privateRig(t, func(r *rig) {
				r.config.Privacy, r.target.echo, r.draft.echo = action, true, true
				r.cloud.config.Targets = []cloud.Target{{Name: "big", Model: backend.Paced(r.target, 8*time.Millisecond, 0), Bytes: r.config.Tokenizer.Bytes}}
				r.config.Lookup = LookupOff
				switch source {
				case "lookup":
					r.config.Lookup = LookupAlways
				case "prediction":
					r.config.Lookup = LookupAuto
				case "suffix":
					r.config.Suffix = suffix.New()
				}
				if source != "model" {
					r.config.Draft, r.draft = nil, nil
				}
			})
			q := Request{Prompt: "Send the word to ada@example.org and send it again to ada@example.org today. ", User: "ada", MaxTokens: 60}
			if source == "prediction" {
				q.Prediction = q.Prompt
			}
			rounds := 1
			if source == "suffix" { // the first answer is what it learns from
				rounds = 2
			}
			c := &collect{t: t}
			var s Summary
			var err error
			for range rounds {
				if s, err = r.edge.Generate(t.Context(), q, c.emit); err != nil {
					t.Fatal(err)
				}
			}
			if s.Usage.Accepted == 0 {
				t.Errorf("%s, %v: nothing was proposed, so nothing is shown: %+v", source, action, s.Sources)
			}
			if heard := p.holds(secret); heard != (action == PrivacyOff) {
				t.Errorf("%s, %v: the secret went up: %t", source, action, heard)
			}
			if !strings.Contains(c.text, secret) {
				t.Errorf("%s, %v: the user reads %q", source, action, c.text)
			}
			r.empty()
		}
	}
}

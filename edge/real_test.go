package edge

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// launch runs an embedded model in a plugin process.
func launch(t *testing.T, model string) *backend.Host {
	t.Helper()
	h, err := backend.Launch(t.Context(), backend.HostConfig{Name: model, Args: []string{"plugin"}, Model: model,
		Options: map[string]string{"threads": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// alone is what a model says by itself.
func alone(t *testing.T, m backend.Model, p speculative.Params, prompt []Token, n int) []Token {
	t.Helper()
	const seq = 1 << 40
	out := []Token{}
	seg := backend.Segment{Sequence: seq, Tokens: prompt, From: len(prompt) - 1, Setup: &backend.Setup{Params: p, PromptLength: len(prompt)}}
	for len(out) < n {
		r, err := m.Forward(t.Context(), []backend.Segment{seg})
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r)
		}
		k := r[0].Choices[0].Token
		if out = append(out, k); slices.Contains(m.Info().EndTokens, k) {
			break
		}
		seg = backend.Segment{Sequence: seq, Start: seg.Start + len(seg.Tokens), Tokens: []Token{k}}
	}
	_ = m.Release(t.Context(), []backend.Sequence{seq})
	return out
}

func killProcess(t *testing.T, pid int) {
	p, err := os.FindProcess(pid)
	if err == nil && pid != 0 {
		err = p.Kill()
	}
	if err != nil {
		t.Error(err)
	}
}

// The demo pair in plugin processes, over a link with a round trip; both processes are killed and
// the link is cut on the way.
func TestRealModels(t *testing.T) {
	if testing.Short() {
		t.Skip("loads models")
	}
	tok := demoTokenizer(t)
	oracle, err := reference.Load(t.Context(), models.TargetName, map[string]string{"threads": "1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = oracle.(*reference.Engine).Close() }()
	target, draft := launch(t, models.TargetName), launch(t, models.DraftName)
	r := newRig(t, link.Config{RTT: 10 * time.Millisecond}, func(r *rig) {
		r.config.Tokenizer, r.config.Vocabulary, r.config.Draft, r.draft = tok, "", draft, nil
		r.cloud.config.Targets = []cloud.Target{{Name: "demo", Model: backend.Paced(target, 15*time.Millisecond, 0), Bytes: tok.Bytes}}
	})
	faults := []func(){nil, func() { killProcess(t, draft.PID()) }, func() { killProcess(t, target.PID()) }, r.link.Cut}
	accepted := 0
	for i, fault := range faults {
		req := Request{Prompt: "Once upon a time there was a little girl. She", MaxTokens: 48,
			Params: speculative.Params{Temperature: float32(i) * 0.4, Seed: uint64(i), RepetitionPenalty: 1 + float32(i%2)/10}}
		var once sync.Once
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c := &collect{at: func(n int) {
			if n > 15 && fault != nil {
				once.Do(fault)
			}
		}}
		s, err := r.edge.Generate(ctx, req, c.emit)
		cancel()
		input := tok.Encode(req.Prompt, tokenizer.Options{AddBOS: tok.AddBOS()})
		if want := alone(t, oracle, req.Params, input, 48); err != nil || !slices.Equal(c.tokens, want) {
			t.Errorf("case %d, error %v:\ngot  %q\nwant %q", i, err, c.text, tok.Decode(want))
		}
		accepted += s.Usage.Accepted
		t.Logf("case %d: %d tokens, %d accepted of %d judged, %d passes, %d late, drafted %d, resumes %d, %d B up, %s: %q", i, s.Tokens,
			s.Usage.Accepted, s.Usage.Judged, s.Usage.Passes, s.Usage.Late, s.Drafted, s.Resumes, s.Uplink,
			(s.Total-s.FirstToken)/time.Duration(s.Tokens-1), c.text)
	}
	if accepted == 0 {
		t.Error("nothing that the draft proposed was accepted")
	}
}

package edge

import (
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/speculative"
)

func TestGenerateIsIdenticalToTheTarget(t *testing.T) {
	r := newRig(t, link.Config{RTT: 5 * time.Millisecond}, func(r *rig) { r.target.step = 2 * time.Millisecond })
	accepted := 0
	for seed := range 5 {
		req := request(seed, 60)
		c, s := r.generate(req, nil)
		r.identical(req, c)
		accepted += s.Usage.Accepted
		if !s.Exact || s.Resumes != 0 || s.Tokens != len(c.tokens) || s.PromptTokens != 10 || s.Target != "big" ||
			s.FirstToken <= 0 || s.Total < s.FirstToken || s.Uplink == 0 || s.Downlink == 0 ||
			(s.Finish != speculative.FinishLength && s.Finish != speculative.FinishEnd) {
			t.Errorf("summary %+v", s)
		}
	}
	if accepted == 0 {
		t.Error("no drafted token was ever accepted")
	}
	r.empty()
}

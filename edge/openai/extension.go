package openai

import (
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// outrider tells of each token how it came, and what is expected next.
type outrider struct {
	Tokens   []token   `json:"tokens,omitempty"`
	Pending  *string   `json:"pending,omitempty"`
	Verified int       `json:"verified,omitempty"` // the target confirmed so many tokens of the answer, unverified ones among them
	Progress *progress `json:"progress,omitempty"`
}

type token struct {
	ID         int32  `json:"id"`
	Text       string `json:"text"`
	Fate       string `json:"fate"`
	Late       bool   `json:"late,omitempty"`
	Unverified bool   `json:"unverified,omitempty"`
}

// progress is edge.Progress as JSON.
type progress struct {
	At       float64 `json:"at_ms"`
	Linked   bool    `json:"linked"`
	Alone    bool    `json:"alone"`
	Tokens   int     `json:"tokens"`
	Depth    int     `json:"depth"`
	Passes   int     `json:"passes"`
	Step     float64 `json:"step_ms"`
	Plain    float64 `json:"plain_step_ms"`
	Uplink   int     `json:"uplink_bytes"`
	Downlink int     `json:"downlink_bytes"`
	Resumes  int     `json:"resumes"`
	RTT      float64 `json:"rtt_ms"`
	Where    string  `json:"where"`
}

// fateOf is a fate's word on the wire.
func fateOf(f speculative.Fate) string {
	return [...]string{"unknown", "accepted", "correction", "bonus", "run_ahead"}[min(f, 4)]
}

func tokensOf(list []edge.GeneratedToken) []token {
	out := make([]token, len(list))
	for i, t := range list {
		out[i] = token{ID: t.ID, Text: t.Text, Fate: fateOf(t.Fate), Late: t.Late, Unverified: t.Unverified}
	}
	return out
}

// outriderOf is the part of a chunk that the request's extension asks for, nil when nothing.
func (x extension) outriderOf(d *delta) *outrider {
	if !x.tokens && !x.pending && !x.progress {
		return nil
	}
	o := &outrider{}
	if x.tokens {
		o.Tokens, o.Verified = tokensOf(d.tokens), d.verified
	}
	if x.pending {
		o.Pending = &d.pending
	}
	if p := d.progress; x.progress {
		o.Progress = &progress{At: ms(p.At), Linked: p.Linked, Alone: p.Alone, Tokens: p.Tokens, Depth: p.Depth, Passes: p.Passes,
			Step: ms(p.Step), Plain: ms(p.Plain), Uplink: p.Uplink, Downlink: p.Downlink, Resumes: p.Resumes, RTT: ms(p.RTT), Where: p.Where}
	}
	return o
}

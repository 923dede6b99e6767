package openai

import (
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// usage is what is billed: never more than prompt and answer.
type usage struct {
	PromptTokens     int          `json:"prompt_tokens"`
	CompletionTokens int          `json:"completion_tokens"`
	TotalTokens      int          `json:"total_tokens"`
	Details          usageDetails `json:"completion_tokens_details"`
}

type usageDetails struct {
	Reasoning int `json:"reasoning_tokens"`
	Accepted  int `json:"accepted_prediction_tokens"` // of the client's prediction
	Rejected  int `json:"rejected_prediction_tokens"`
}

func usageOf(answers []*answer) *usage {
	u := &usage{}
	for i, a := range answers {
		if i%a.j.n == 0 { // the choices of a prompt share it
			u.PromptTokens += a.sum.PromptTokens
		}
		u.CompletionTokens += a.sum.Tokens
		u.Details.Reasoning += a.thoughtTokens
		u.Details.Accepted, u.Details.Rejected = u.Details.Accepted+a.sum.PredictionAccepted, u.Details.Rejected+a.sum.PredictionRejected
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	return u
}

// steps follows the target's passes along the tokens: each pass that judged proposals gave its accepted
// tokens and one of its own.
type steps struct {
	run      int   // accepted tokens of the pass under way
	accepted []int // of each pass
}

func (s *steps) add(t edge.GeneratedToken) {
	switch {
	case t.Unverified:
	case t.Fate == speculative.Accepted:
		s.run++
	case t.Fate == speculative.Correction || t.Fate == speculative.Bonus:
		s.accepted = append(s.accepted, s.run)
		s.run = 0
	default:
		s.flush()
	}
}

// flush ends a pass whose last token was an accepted one: it ended the answer.
func (s *steps) flush() {
	if s.run > 0 {
		s.accepted = append(s.accepted, s.run)
		s.run = 0
	}
}

// metrics are a request's statistics, outside of its usage.
type metrics struct {
	Speculative speculativeMetrics `json:"speculative_decoding"`
	Outrider    outriderMetrics    `json:"outrider"`
}

// speculativeMetrics are named as vLLM names them.
type speculativeMetrics struct {
	MeanLength      float64 `json:"mean_acceptance_length"`
	AcceptanceRate  float64 `json:"draft_acceptance_rate"`
	Histogram       []int   `json:"acceptance_histogram"` // passes by the number of tokens that they accepted
	Steps           int     `json:"num_spec_steps"`
	DraftTokens     int     `json:"num_draft_tokens"` // judged
	AcceptedTokens  int     `json:"num_accepted_draft_tokens"`
	PerStepAccepted []int   `json:"per_step_accepted"`
}

// sourceMetrics counts the positions for which a source proposed a token, and at which it was right.
type sourceMetrics struct {
	Proposed int `json:"proposed"`
	Accepted int `json:"accepted"`
}

// outriderMetrics are what only Outrider has to tell. Times are those of the slowest choice.
type outriderMetrics struct {
	FirstToken    float64                  `json:"first_token_ms"`
	Total         float64                  `json:"total_ms"`
	Uplink        int                      `json:"uplink_bytes"`
	Downlink      int                      `json:"downlink_bytes"`
	Resumes       int                      `json:"resumes"`
	Exact         bool                     `json:"exact"`
	Rule          string                   `json:"rule,omitempty"`
	Lossless      bool                     `json:"lossless"`
	Lenient       int                      `json:"lenient_accepted"` // accepted tokens that the strict rule would have refused
	Drafted       int                      `json:"drafted"`
	Late          int                      `json:"late"`
	Stale         int                      `json:"stale"`
	Sources       map[string]sourceMetrics `json:"sources,omitempty"`        // of proposals, the draft apart
	CloudDrafted  int                      `json:"cloud_drafted,omitempty"`  // what the cloud itself proposed
	CloudAccepted int                      `json:"cloud_accepted,omitempty"` // of that, what held
	Passes        int                      `json:"target_passes"`
	Positions     int                      `json:"target_positions"`
	Unverified    int                      `json:"unverified_tokens"`
	Verified      int                      `json:"verified_later_tokens,omitempty"` // given out unverified, and confirmed since
	Target        string                   `json:"target"`
	Numerics      string                   `json:"numerics"`
	Pace          string                   `json:"pace,omitempty"`
	Draft         string                   `json:"draft"`
	Routing       *routing                 `json:"routing,omitempty"`
	Account       *account                 `json:"account,omitempty"`
	Privacy       *personal                `json:"privacy,omitempty"`
}

func (o *outriderMetrics) addSources(p []edge.Proposed) {
	for i, n := range p {
		if n.Proposed == 0 {
			continue
		}
		if o.Sources == nil {
			o.Sources = map[string]sourceMetrics{}
		}
		had := o.Sources[edge.Source(i).String()]
		o.Sources[edge.Source(i).String()] = sourceMetrics{had.Proposed + n.Proposed, had.Accepted + n.Accepted}
	}
}

func metricsOf(answers []*answer, draft string) *metrics {
	m := &metrics{Outrider: outriderMetrics{Exact: true, Lossless: true, Draft: draft}, Speculative: speculativeMetrics{Histogram: []int{}, PerStepAccepted: []int{}}}
	s, o := &m.Speculative, &m.Outrider
	for _, a := range answers {
		sum, u := a.sum, a.sum.Usage
		o.FirstToken, o.Total = max(o.FirstToken, ms(sum.FirstToken)), max(o.Total, ms(sum.Total))
		o.Uplink, o.Downlink, o.Resumes = o.Uplink+sum.Uplink, o.Downlink+sum.Downlink, o.Resumes+sum.Resumes
		o.Exact, o.Lossless = o.Exact && sum.Exact, o.Lossless && sum.Lossless
		o.Rule, o.Lenient = sum.Rule.String(), o.Lenient+u.Lenient
		o.Drafted, o.Late, o.Stale = o.Drafted+sum.Drafted, o.Late+u.Late, o.Stale+u.Stale
		o.addSources(sum.Sources[:])
		o.CloudDrafted, o.CloudAccepted = o.CloudDrafted+u.OwnJudged, o.CloudAccepted+u.OwnAccepted
		o.Passes, o.Positions, o.Unverified = o.Passes+u.Passes, o.Positions+u.Positions, o.Unverified+sum.Unverified
		o.Verified += sum.Verified
		if sum.Routing.Where != "" {
			if o.Account == nil {
				o.Account = &account{}
			}
			o.Account.add(&sum)
		}
		o.Privacy = personalOf(sum.Personal)
		o.Routing = routingOf(sum.Routing) // of the last choice; all are asked for alike
		o.Target, o.Numerics, o.Pace = sum.Target, sum.Numerics, sum.Pace
		s.Steps, s.DraftTokens, s.AcceptedTokens = s.Steps+u.ScoringPasses, s.DraftTokens+u.Judged, s.AcceptedTokens+u.Accepted
		a.steps.flush()
		s.PerStepAccepted = append(s.PerStepAccepted, a.steps.accepted...)
	}
	for _, n := range s.PerStepAccepted {
		for len(s.Histogram) <= n {
			s.Histogram = append(s.Histogram, 0)
		}
		s.Histogram[n]++
	}
	if s.DraftTokens > 0 {
		s.AcceptanceRate = float64(s.AcceptedTokens) / float64(s.DraftTokens)
	}
	if s.Steps > 0 {
		s.MeanLength = 1 + float64(s.AcceptedTokens)/float64(s.Steps)
	}
	return m
}

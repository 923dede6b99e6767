package simulate

import (
	"context"
	"math"
	"slices"
	"time"
)

// Figures of one strategy under one setting. Times in milliseconds.
type Figures struct {
	MsPerToken    float64 `json:"ms_per_token"`   // request to last token, over the tokens; the median session
	Ratio         float64 `json:"ratio"`          // of cloud-only streaming: the median over sessions
	RatioLow      float64 `json:"ratio_low"`      // the interval that holds the true median with 95 %
	RatioHigh     float64 `json:"ratio_high"`     //
	FirstTokenMs  float64 `json:"first_token_ms"` // median
	Passes        float64 `json:"target_passes_per_token"`
	Positions     float64 `json:"scored_positions_per_token"`
	Uplink        float64 `json:"uplink_payload_bytes_per_token"`
	Messages      float64 `json:"uplink_messages_per_token"`
	Acceptance    float64 `json:"acceptance_rate"`
	MeanLength    float64 `json:"mean_acceptance_length"`
	Drafted       float64 `json:"drafted_per_token"`
	TokensPerSec  float64 `json:"tokens_per_second"` // of all sessions together
	TargetBusy    float64 `json:"target_busy"`       // share of the time
	TargetSeconds float64 `json:"target_seconds_per_million_tokens"`
	Unfinished    int     `json:"unfinished,omitempty"` // sessions cut off by the horizon
}

// Compare runs a strategy and cloud-only streaming on the same sessions.
func Compare(ctx context.Context, c Config) (Figures, error) {
	alone := c
	alone.Strategy = CloudOnly
	base, err := Run(ctx, alone)
	if err != nil {
		return Figures{}, err
	}
	return Against(ctx, c, base)
}

// Against runs a strategy on sessions of which the outcome of cloud-only streaming is known.
func Against(ctx context.Context, c Config, base Outcome) (Figures, error) {
	if c.Strategy == CloudOnly {
		return figuresOf(base, base), nil
	}
	o, err := Run(ctx, c)
	if err != nil {
		return Figures{}, err
	}
	return figuresOf(o, base), nil
}

func figuresOf(o, base Outcome) Figures {
	var f Figures
	var ms, ratios, first []float64
	tokens, judged, accepted, scoring, gained := 0.0, 0.0, 0.0, 0.0, 0.0
	for i, s := range o.Sessions {
		tokens += float64(s.Tokens)
		f.Passes += float64(s.Usage.Passes)
		f.Positions += float64(s.Usage.Positions)
		f.Uplink += float64(s.Uplink)
		f.Messages += float64(s.Messages)
		f.Drafted += float64(s.Drafted)
		judged += float64(s.Usage.Judged)
		accepted += float64(s.Usage.Accepted)
		scoring += float64(s.Usage.ScoringPasses)
		gained += float64(s.Usage.Accepted + s.Usage.ScoringPasses)
		if s.Done == 0 {
			f.Unfinished++
			continue
		}
		took := milliseconds(s.Done - s.Begun)
		ms = append(ms, took/float64(s.Tokens))
		first = append(first, milliseconds(s.First-s.Begun))
		if b := base.Sessions[i]; b.Done > 0 {
			ratios = append(ratios, took/milliseconds(b.Done-b.Begun))
		}
	}
	per := func(v *float64, n float64) {
		if *v /= n; n == 0 {
			*v = 0
		}
	}
	for _, v := range []*float64{&f.Passes, &f.Positions, &f.Uplink, &f.Messages, &f.Drafted} {
		per(v, tokens)
	}
	f.Acceptance, f.MeanLength = accepted, gained
	per(&f.Acceptance, judged)
	per(&f.MeanLength, scoring)
	f.TokensPerSec, f.TargetBusy, f.TargetSeconds = tokens, o.Busy.Seconds(), o.Busy.Seconds()*1e6
	per(&f.TokensPerSec, o.End.Seconds())
	per(&f.TargetBusy, o.End.Seconds())
	per(&f.TargetSeconds, tokens)
	f.MsPerToken, _, _ = median(ms)
	f.FirstTokenMs, _, _ = median(first)
	f.Ratio, f.RatioLow, f.RatioHigh = median(ratios)
	return f
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median returns the middle value and a 95 % interval for it from the order statistics (binomial, in
// the normal approximation). Zeros when there is none.
func median(v []float64) (mid, low, high float64) {
	if len(v) == 0 {
		return 0, 0, 0
	}
	slices.Sort(v)
	n := float64(len(v))
	at := func(i float64) float64 { return v[int(min(max(i, 0), n-1))] }
	half := 0.98 * math.Sqrt(n)
	return (at(math.Floor((n-1)/2)) + at(math.Ceil((n-1)/2))) / 2, at(math.Floor(n/2 - half)), at(math.Ceil(n/2 + half))
}

// Quantile of the milliseconds per token of the sessions that finished.
func (o Outcome) Quantile(q float64) float64 {
	var ms []float64
	for _, s := range o.Sessions {
		if s.Done > 0 {
			ms = append(ms, milliseconds(s.Done-s.Begun)/float64(s.Tokens))
		}
	}
	if len(ms) == 0 {
		return 0
	}
	slices.Sort(ms)
	return ms[int(q*float64(len(ms)-1))]
}

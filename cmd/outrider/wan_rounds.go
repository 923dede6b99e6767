package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/bench/sweep"
	"github.com/outrider-llm/outrider/speculative"
)

// tally sums a way's rounds.
type wanTally struct {
	ratios, simRatios, msPer, simMs, differ, tuned []float64
	usage                                          speculative.Usage
	tokens, seen, uplink                           float64
	bytes                                          traffic
}

// measure runs the rounds over one link.
func (x *wan) measure(ctx context.Context, c link.Config) (*wanReport, error) {
	k, err := x.open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer k.shut()
	r := &wanReport{RTT: ms(c.RTT), Link: c.String(), Ways: map[string]*wanFigures{}, Depth: k.depth, Rounds: x.f.rounds, Identical: true}
	r.Load[0] = sweep.LoadAverage()
	sums := map[string]*wanTally{}
	for _, way := range wanWays() {
		sums[way] = &wanTally{}
	}
	for round := -1; round < x.f.rounds; round++ { // the first connects and learns
		if err := k.round(ctx, round, sums, r); err != nil {
			return nil, err
		}
	}
	r.Load[1] = sweep.LoadAverage()
	for _, way := range wanWays() {
		r.Ways[way] = sums[way].figures()
	}
	r.wanFigures = *r.Ways[wayOutrider]
	return r, nil
}

func (k *wanLink) round(ctx context.Context, round int, sums map[string]*wanTally, r *wanReport) error {
	runs := map[string]wanRun{}
	ways := wanWays()
	for i := range ways {
		way := ways[(i+round+len(ways))%len(ways)]
		run, err := k.generate(ctx, way, round)
		if err != nil {
			return fmt.Errorf("%s over %s: %w", way, k.c, err)
		}
		runs[way] = run
	}
	log := runs[wayCloudOnly].log
	for _, run := range runs {
		r.Identical = r.Identical && slices.Equal(run.log, log)
	}
	if round < 0 {
		return nil
	}
	set, err := k.recorded(ctx, round, wanTokens(round), log)
	if err != nil {
		return err
	}
	sim, err := k.simulate(ctx, set, [2]time.Duration{})
	if err != nil {
		return err
	}
	late := [2]time.Duration{(runs[wayCloudOnly].total - sim[wayCloudOnly]) / time.Duration(len(log)), k.x.draft.mean() - k.x.f.draft}
	tuned, err := k.simulate(ctx, set, late)
	if err != nil {
		return err
	}
	r.StepLate, r.DraftLate = r.StepLate+ms(late[0])/float64(r.Rounds), r.DraftLate+ms(late[1])/float64(r.Rounds)
	for _, way := range ways {
		sums[way].add(runs[way], ms(runs[wayCloudOnly].total), [3]float64{ms(sim[way]), ms(sim[wayCloudOnly]), ms(tuned[way])})
	}
	return nil
}

// add takes in one round: cloud-only streaming's time in ms, and on the virtual clock this way's, cloud-only
// streaming's, and this way's with the times that steps and drafts took.
func (t *wanTally) add(run wanRun, base float64, virtual [3]float64) {
	took, n, sim := ms(run.total), float64(len(run.log)), virtual[0]
	t.tuned = append(t.tuned, 100*(took/virtual[2]-1))
	t.ratios, t.simRatios = append(t.ratios, took/base), append(t.simRatios, sim/virtual[1])
	t.msPer, t.simMs, t.differ = append(t.msPer, took/n), append(t.simMs, sim/n), append(t.differ, 100*(took/sim-1))
	t.tokens += n
	t.seen += float64(run.seen)
	t.uplink += float64(run.uplink)
	t.bytes.add(run.bytes)
	t.usage.Passes += run.usage.Passes
	t.usage.Judged += run.usage.Judged
	t.usage.Accepted += run.usage.Accepted
}

func (t *wanTally) figures() *wanFigures {
	g := &wanFigures{Passes: float64(t.usage.Passes) / t.tokens, Acceptance: float64(t.usage.Accepted) / float64(max(1, t.usage.Judged))}
	g.Ratio, g.RatioLow, g.RatioHigh = middle(t.ratios)
	g.SimRatio, _, _ = middle(t.simRatios)
	g.MsPerToken, _, _ = middle(t.msPer)
	g.Simulated, _, _ = middle(t.simMs)
	g.Difference, _, _ = middle(t.differ)
	g.Beyond, _, _ = middle(t.tuned)
	if t.seen > 0 {
		g.Uplink, g.Writes = t.uplink/t.seen, float64(t.bytes.writes)/t.seen
		g.Frames, g.Records, g.Down = float64(t.bytes.framesUp)/t.seen, float64(t.bytes.recordsUp)/t.seen, float64(t.bytes.recordsDown)/t.seen
	}
	return g
}

// middle is the median of values, with the narrowest interval between two of them that holds the true
// one with 95 % (by the binomial distribution); with fewer than six values the least and the greatest.
func middle(v []float64) (mid, low, high float64) {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	out, outside, term := 0, 0.0, math.Pow(0.5, float64(n)) // the share of cases in which the true one lies outside
	for k := 0; k < n/2; k++ {
		if outside += 2 * term; outside > 0.05 {
			break
		}
		out, term = k, term*float64(n-k)/float64(k+1)
	}
	return (v[(n-1)/2] + v[n/2]) / 2, v[out], v[n-1-out]
}

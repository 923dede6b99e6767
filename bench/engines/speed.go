package engines

import (
	"context"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend"
)

// Speed is the cost of one kind of pass.
type Speed struct {
	Rows  int     `json:"rows"`     // 1: decoding; more: scoring a proposal of that many less one
	First float64 `json:"first_us"` // median time of a pass, in microseconds
	Other float64 `json:"other_us"`
	Ratio float64 `json:"ratio"` // median of the pairs' ratios: the first's speed by the other's
}

// behind is the length of the log that the measured rows follow.
const behind = 128

// Race measures passes of so many rows, taking turns, so that what else the machine does meets both.
func Race(ctx context.Context, a, b backend.Model, rows []int, rounds int) ([]Speed, error) {
	log := make([]backend.Token, behind+slices.Max(rows))
	limit := a.Info().VocabularySize
	for i := range log {
		log[i] = backend.Token((300 + i*37) % limit)
	}
	models := []backend.Model{a, b}
	for _, m := range models {
		if _, err := one(ctx, m, backend.Segment{Sequence: sequence, Tokens: log[:behind], From: behind, Setup: &backend.Setup{}}); err != nil {
			return nil, err
		}
	}
	var out []Speed
	for _, n := range rows {
		var times [2][]float64
		var ratios []float64
		for round := range rounds + 2 { // the first two warm up
			for i, m := range models {
				begin := time.Now()
				if _, err := one(ctx, m, backend.Segment{Sequence: sequence, Start: behind, Tokens: log[behind : behind+n]}); err != nil {
					return nil, err
				}
				if round >= 2 {
					times[i] = append(times[i], time.Since(begin).Seconds()*1e6)
				}
			}
			if k := len(times[0]); k > 0 {
				ratios = append(ratios, times[1][k-1]/times[0][k-1])
			}
		}
		out = append(out, Speed{Rows: n, First: median(times[0]), Other: median(times[1]), Ratio: median(ratios)})
	}
	for _, m := range models {
		if err := m.Release(ctx, []backend.Sequence{sequence}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

package reference

import (
	"fmt"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

// story is a log of n tokens that the embedded pair can read.
func story(n int) []backend.Token {
	log := []backend.Token{2045}
	for i := 1; i < n; i++ {
		log = append(log, backend.Token(300+i*37%1500))
	}
	return log
}

// timed runs fn and reports, beside the mean, the time per row of its fastest run: on a machine that
// others use too, that is the one to compare.
func timed(b *testing.B, rows int, fn func()) {
	b.ReportAllocs()
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		fn()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(best.Seconds()*1e6/float64(rows), "best-µs/row")
}

// BenchmarkStep runs what the cloud runs: a pass over segments of so many rows behind logs of 128.
func BenchmarkStep(b *testing.B) {
	for _, model := range []string{models.TargetName, models.DraftName} {
		for _, threads := range []string{"1", "2"} {
			for _, shape := range []struct{ segments, rows int }{{1, 1}, {1, 4}, {1, 8}, {1, 16}, {8, 1}, {8, 8}} {
				b.Run(fmt.Sprintf("%s/threads=%s/%dx%d", model, threads, shape.segments, shape.rows), func(b *testing.B) {
					e := engine(b, model, "threads", threads)
					log := story(128 + shape.rows)
					var batch []backend.Segment
					for i := range shape.segments {
						s := backend.Segment{Sequence: backend.Sequence(i), Tokens: log[:128], Setup: greedy, From: 128}
						forward(b, e, s)
						batch = append(batch, backend.Segment{Sequence: s.Sequence, Start: 128, Tokens: log[128:]})
					}
					timed(b, shape.segments*shape.rows, func() {
						if _, err := e.Forward(b.Context(), batch); err != nil {
							b.Fatal(err)
						}
					})
				})
			}
		}
	}
}

func BenchmarkPrefill(b *testing.B) {
	for _, threads := range []string{"1", "2"} {
		b.Run("threads="+threads, func(b *testing.B) {
			e := engine(b, models.TargetName, "threads", threads)
			s := backend.Segment{Tokens: story(256), Setup: greedy, From: 256}
			timed(b, 256, func() { forward(b, e, s) })
		})
	}
}

// BenchmarkDraft decodes 64 tokens from a short prompt, as the edge does.
func BenchmarkDraft(b *testing.B) {
	for _, temperature := range []float32{0, 0.7} {
		b.Run(fmt.Sprintf("temperature=%g", temperature), func(b *testing.B) {
			e := engine(b, models.DraftName)
			setup := &backend.Setup{Params: speculative.Params{Temperature: temperature, LogitBias: map[backend.Token]float32{2045: -1000}}}
			r := backend.DraftRequest{MaxTokens: 64, Segment: backend.Segment{Tokens: story(32), Setup: setup}}
			timed(b, 64, func() {
				if n := len(draft(b, e, r)); n != 64 {
					b.Fatal(n)
				}
			})
		})
	}
}

func BenchmarkDot(b *testing.B) {
	for _, n := range []int{16, 32, 64, 96, 160, 448, 4096} {
		x, y := make([]float32, n), make([]float32, n)
		for name, f := range map[string]func(x, y []float32) float32{"dot": dot, "portable": dotPortable} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					x[0] += f(x, y)
				}
				b.ReportMetric(2*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

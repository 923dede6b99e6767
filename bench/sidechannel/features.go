package sidechannel

import (
	"math"
	"slices"
	"time"
)

// Trace is what an onlooker has of one session.
type Trace struct {
	Label   int // of the prompt
	Round   int // of the repeats
	Task    int // kind of prompt
	Packets []Packet
}

const (
	firstPackets = 48                     // each way, one by one
	slot         = 100 * time.Millisecond // for bytes over time
	slots        = 30
	binWidth     = 16 // bytes, of the histogram of sizes
	bins         = 48 // the last one is open
)

// features are what the classifiers see of the packets until a time; 0: of all.
func features(packets []Packet, until time.Duration) []float64 {
	var out []float64
	for _, down := range []bool{false, true} {
		sizes, gaps, hist, over := make([]float64, firstPackets), make([]float64, firstPackets), make([]float64, bins), make([]float64, slots)
		n, total := 0, 0.0
		var last, first time.Duration
		for _, p := range packets {
			if p.Down != down || until > 0 && p.At > until {
				continue
			}
			if n == 0 {
				first = p.At
			}
			if n < firstPackets {
				sizes[n], gaps[n] = float64(p.Size), float64((p.At - last).Microseconds())
			}
			hist[min(p.Size/binWidth, bins-1)]++
			over[min(int(p.At/slot), slots-1)] += float64(p.Size)
			n, total, last = n+1, total+float64(p.Size), p.At
		}
		out = append(out, float64(n), total, total/math.Max(1, float64(n)), float64(first.Microseconds()))
		if until == 0 {
			out = append(out, float64(last.Microseconds()))
		}
		out = slices.Concat(out, sizes, gaps, hist, over)
	}
	return out
}

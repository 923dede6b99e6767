package media

import (
	"math"
	"time"
)

// Gate finds speech in a stream of samples at Rate by its energy: it opens when frames stand above the noise that it
// learns, and closes after a silence. A pure state machine; the zero value is not usable, see NewGate.
type Gate struct {
	Hang  time.Duration // silence that ends an utterance
	Least time.Duration // voiced time that makes one; shorter is a click

	rest   []int16    // of an unfinished frame
	noise  float64    // level of the background, dB
	quiet  [5]float64 // quietest frames of the last blocks, the newest first
	known  int        // frames heard
	open   bool
	voiced int // frames in a row; while open: of the utterance
	silent int // frames in a row while open
	lead   []int16
}

// GateEvent is what happens in a stream.
type GateEvent struct {
	Kind GateKind
	PCM  []int16 // of the utterance: with Began what led to it, with Voice one frame
}

// GateKind is a kind of event.
type GateKind int

// Kinds of events, in the order of an utterance.
const (
	Began GateKind = iota // somebody speaks
	Voice                 // samples of it
	Ended                 // the silence after it is long enough
)

// Frame is the length of the frames by which a gate decides.
const Frame = 20 * time.Millisecond

const (
	frameSamples = Rate / 50
	blockFrames  = 25  // of which the quietest is kept
	leadFrames   = 15  // kept from before the gate opens: soft beginnings
	margin       = 9.0 // dB above the noise that counts as voice
	floor        = -55 // dB of full scale below which nothing is voice
)

// NewGate returns a gate with usual times.
func NewGate() *Gate {
	return &Gate{Hang: 600 * time.Millisecond, Least: 100 * time.Millisecond, noise: -60, quiet: [5]float64{-60, -60, -60, -60, -60}}
}

// Push takes samples, cut anywhere, and returns what happened.
func (g *Gate) Push(pcm []int16) []GateEvent {
	var out []GateEvent
	g.rest = append(g.rest, pcm...)
	for len(g.rest) >= frameSamples {
		f := append([]int16(nil), g.rest[:frameSamples]...)
		g.rest = g.rest[frameSamples:]
		out = g.frame(f, out)
	}
	g.rest = append([]int16(nil), g.rest...)
	return out
}

// Flush ends the stream.
func (g *Gate) Flush() []GateEvent {
	if !g.open {
		return nil
	}
	g.open, g.voiced, g.silent = false, 0, 0
	return []GateEvent{{Kind: Ended}}
}

// Silence is how long it has been silent in the utterance under way.
func (g *Gate) Silence() time.Duration { return time.Duration(g.silent) * Frame }

func (g *Gate) frame(f []int16, out []GateEvent) []GateEvent {
	level := level(f)
	voice := level > floor && level > g.noise+margin
	g.learn(level)
	if !g.open {
		g.lead = append(g.lead, f...)
		if n := leadFrames * frameSamples; len(g.lead) > n {
			g.lead = g.lead[len(g.lead)-n:]
		}
		if g.voiced++; !voice {
			g.voiced = 0
		}
		if time.Duration(g.voiced)*Frame < g.Least {
			return out
		}
		out = append(out, GateEvent{Kind: Began, PCM: g.lead})
		g.open, g.silent, g.lead = true, 0, nil
		return out
	}
	out = append(out, GateEvent{Kind: Voice, PCM: f})
	if g.silent++; voice {
		g.silent = 0
	}
	if g.Silence() >= g.Hang {
		out = append(out, g.Flush()...)
	}
	return out
}

// learn follows the background: the quietest frame of the last two seconds, since speech has gaps and a fan has none.
func (g *Gate) learn(level float64) {
	b := &g.quiet[0]
	if g.known++; g.known%blockFrames == 0 {
		copy(g.quiet[1:], g.quiet[:])
		*b = level
	}
	*b = min(*b, level)
	least := g.quiet[0]
	for _, v := range g.quiet {
		least = min(least, v)
	}
	g.noise = max(least, -75)
}

// level of a frame in dB of full scale.
func level(f []int16) float64 {
	sum := 0.0
	for _, v := range f {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10(sum/float64(len(f))/(32768*32768)+1e-10)
}

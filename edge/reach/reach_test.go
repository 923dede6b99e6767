package reach

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestBreaker(t *testing.T) {
	var b Breaker
	b.Failure(0)
	b.Failure(1 * ms)
	if b.Failure(2*ms) || b.State() != Closed {
		t.Fatal("many failures in one moment opened it")
	}
	if !b.Failure(400*ms) || b.State() != Open {
		t.Fatal("failures in a row did not open it")
	}
	if b.Probe(500*ms) || b.Next() != 650*ms || !b.Probe(650*ms) || b.State() != HalfOpen || b.Probe(700*ms) {
		t.Fatal("not one probe at its time")
	}
	if b.Timeout(700 * ms) {
		t.Error("opened twice")
	}
	now, last := 700*ms, time.Duration(0)
	for range 10 { // each probe that fails doubles the pause, up to a bound
		b.Failure(now)
		pause := b.Next() - now
		if b.State() != Open || pause < last || pause > maxProbe {
			t.Fatalf("%s: pause %s after %s", b.State(), pause, last)
		}
		last, now = pause, b.Next()
		b.Probe(now)
	}
	if last != maxProbe || !b.Success() || b.State() != Closed || b.Success() {
		t.Errorf("pause %s, %s", last, b.State())
	}
	b.Failure(now)
	b.Failure(now + time.Second)
	b.Success() // in between
	if b.Failure(now+2*time.Second) || !b.Timeout(now+3*time.Second) || b.State() != Open {
		t.Error("a success between failures does not count, or a timeout does not open it")
	}
}

// run feeds waits for a time and returns the shares, one per tenth of a second.
func run(p *Pressure, from, length time.Duration, wait func(at time.Duration) time.Duration) []float64 {
	var out []float64
	for at := from; at < from+length; at += 20 * ms {
		p.Waited(at, wait(at-from))
		if at%(100*ms) == 0 {
			out = append(out, p.Share(at))
		}
	}
	return out
}

// turns counts changes of direction.
func turns(shares []float64) int {
	n, way := 0, 0.0
	for i := 1; i < len(shares); i++ {
		d := shares[i] - shares[i-1]
		if d*way < 0 {
			n++
		}
		if d != 0 {
			way = d
		}
	}
	return n
}

func TestPressureFollowsAStep(t *testing.T) {
	var p Pressure
	calm := run(&p, 0, 20*time.Second, func(time.Duration) time.Duration { return 10 * ms })
	if calm[len(calm)-1] != 0 {
		t.Fatalf("a calm cloud presses %g", calm[len(calm)-1])
	}
	up := run(&p, 20*time.Second, 20*time.Second, func(time.Duration) time.Duration { return 600 * ms })
	if up[10] > 0.4 || up[80] < 0.99 || turns(up) > 0 {
		t.Errorf("after 1 s %g, after 8 s %g, %d turns", up[10], up[80], turns(up))
	}
	down := run(&p, 40*time.Second, 60*time.Second, func(time.Duration) time.Duration { return 10 * ms })
	if down[100] < 0.6 || down[400] > 0 || turns(down) > 0 {
		t.Errorf("after 10 s %g, after 40 s %g, %d turns", down[100], down[400], turns(down))
	}
}

func TestPressureFollowsARamp(t *testing.T) {
	var p Pressure
	s := run(&p, 0, 2*time.Minute, func(at time.Duration) time.Duration { return at / 300 }) // to 400 ms
	if turns(s) > 0 || s[len(s)-1] < 0.85 {
		t.Errorf("%d turns, %g at the end", turns(s), s[len(s)-1])
	}
	for i := 1; i < len(s); i++ {
		if s[i]-s[i-1] > 0.03 {
			t.Fatalf("jumps by %g", s[i]-s[i-1])
		}
	}
}

// Heavy noise about a steady wait neither flaps nor drifts.
func TestPressureIsCalmInNoise(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var p Pressure
		s := run(&p, 0, 5*time.Minute, func(time.Duration) time.Duration { return time.Duration(r.ExpFloat64() * float64(200*ms)) })
		if n := turns(s[100:]); n > 12 {
			t.Errorf("seed %d: %d turns in five minutes", seed, n)
		}
		if last := s[len(s)-1]; math.Abs(last-0.43) > 0.25 {
			t.Errorf("seed %d: %g at the end", seed, last)
		}
	}
}

func TestPressureOfLinkAndRefusals(t *testing.T) {
	var p Pressure
	for at := time.Duration(0); at < time.Minute; at += time.Second {
		p.RoundTrip(at, 200*ms) // far, and always so
	}
	if s := p.Share(time.Minute); s != 0 {
		t.Errorf("a far cloud presses %g", s)
	}
	for at := time.Minute; at < 80*time.Second; at += time.Second {
		p.RoundTrip(at, 900*ms)
	}
	if s := p.Share(80 * time.Second); s < 0.9 {
		t.Errorf("a link that became slow presses %g", s)
	}
	// Nothing more is heard, since all stays on the device: it fades, so that the cloud is tried again.
	if s := p.Share(5 * time.Minute); s > 0.5 {
		t.Errorf("after silence %g", s)
	}
	if s := p.Share(10 * time.Minute); s != 0 {
		t.Errorf("after long silence %g", s)
	}
	var q Pressure
	q.Refused(time.Second, 3*time.Second)
	if s := q.Share(3 * time.Second); s < 0.3 || s > 0.5 {
		t.Errorf("a full cloud presses %g after two seconds", s)
	}
}

func TestLotsAreEven(t *testing.T) {
	for _, share := range []float64{0.1, 0.37, 0.9} {
		for _, n := range []int{20, 100, 1000} {
			below := 0
			for i := range n {
				if Lot(uint64(i)+12345) < share {
					below++
				}
			}
			if math.Abs(float64(below)-share*float64(n)) > 3 {
				t.Errorf("%d of %d lots are below %g", below, n, share)
			}
		}
	}
}

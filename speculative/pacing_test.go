package speculative

import (
	"testing"
	"time"
)

// carry sends so many proposals, as they become due, over an uplink on which each takes its time, while a
// commit tells every 40 ms what has arrived. It returns the gap and the longest queue at the end.
func carry(p *pacing, now *Time, n int, each, way time.Duration) (gap, queue time.Duration) {
	var arrivals []Time
	free, next, told := *now, *now, *now
	base := p.first + len(p.sent)
	for sent := 0; sent < n; {
		*now += time.Millisecond
		if *now >= told {
			told += 40 * time.Millisecond
			for k, at := range arrivals {
				if at <= *now-way {
					p.heard = max(p.heard, base+k+1)
				}
			}
			p.look(*now)
		}
		if *now >= next {
			free = max(free, *now) + each
			arrivals = append(arrivals, free+way)
			p.send(*now)
			sent, next = sent+1, *now+p.gap
			if sent > n*3/4 {
				queue = max(queue, free-*now)
			}
		}
	}
	*now += time.Second
	p.heard = base + n
	return p.gap, queue
}

// A slow uplink is noticed by what has not arrived; a fast one is used at once, and found again.
func TestPacing(t *testing.T) {
	for _, way := range []time.Duration{time.Millisecond, 100 * time.Millisecond} {
		p := pacing{gap: DefaultGap, least: DefaultGap}
		now := time.Second
		if gap, _ := carry(&p, &now, 300, time.Millisecond, way); gap != DefaultGap {
			t.Errorf("one way %v, a fast uplink: %v between proposals", way, gap)
		}
		gap, queue := carry(&p, &now, 300, 20*time.Millisecond, way)
		t.Logf("one way %v: %v between proposals of 20 ms, a queue of %v", way, gap, queue)
		if gap < 10*time.Millisecond || queue > 400*time.Millisecond {
			t.Errorf("one way %v, a slow uplink: %v between proposals, a queue of %v", way, gap, queue)
		}
		if gap, _ := carry(&p, &now, 300, time.Millisecond, way); gap > 2*DefaultGap {
			t.Errorf("one way %v, a fast uplink again: %v between proposals", way, gap)
		}
		p.reset()
		if p.look(now); len(p.sent) > 0 || p.first > 0 {
			t.Error("a new stream begins with what the old one sent")
		}
	}
	p := pacing{gap: DefaultGap, least: DefaultGap}
	for i := range 5000 { // a cloud that tells nothing
		p.send(Time(i))
		p.look(Time(i))
	}
	if len(p.sent) > paceKept || p.gap != DefaultGap {
		t.Errorf("%d kept, %v between proposals", len(p.sent), p.gap)
	}
}

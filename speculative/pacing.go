package speculative

import "time"

// pacing spaces proposals so that a slow uplink does not queue them: what waits there comes too late, and
// keeps acknowledgements waiting. Commits tell how many proposals had arrived when they were made; the
// oldest that had not then is no older than a round trip, unless it waits in a queue.
type pacing struct {
	gap, least time.Duration
	sent       []Time // when those that are not known to have arrived were sent
	first      int    // number of sent[0] on the stream
	heard      int    // as told
	base       time.Duration
	next       Time // no change before
}

const (
	paceLag  = 25 * time.Millisecond  // a delay by less than this is jitter
	paceMost = 160 * time.Millisecond // more between proposals gains nothing
	paceMin  = 4 * time.Millisecond   // from which a gap grows
	paceKept = 1024
)

// reset begins a stream.
func (p *pacing) reset() { p.sent, p.first, p.heard = nil, 0, 0 }

func (p *pacing) send(now Time) {
	if len(p.sent) < paceKept { // a cloud that does not tell is not listened for
		p.sent = append(p.sent, now)
	}
}

// look learns from what was told since the last time.
func (p *pacing) look(now Time) {
	n := min(p.heard-p.first, len(p.sent))
	if n <= 0 {
		return
	}
	delay := now - p.sent[n-1]
	p.sent, p.first = p.sent[n:], p.first+n
	if p.base == 0 || delay < p.base {
		p.base = delay
	}
	p.base += (delay - p.base) / 256 // round trips change
	if now < p.next {
		return
	}
	switch {
	case len(p.sent) > 0 && now-p.sent[0] > p.base+paceLag:
		p.gap = min(2*max(p.gap, paceMin), max(p.least, paceMost))
	case p.gap > p.least:
		p.gap = max(p.gap-p.gap/16, p.least)
	default:
		return
	}
	p.next = now + p.base
}

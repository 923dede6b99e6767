package link

import "time"

// Lane decides when what enters one direction of a link leaves it: a pure function of the profile, the
// seed, and what was handed in before.
type Lane struct {
	c      Config
	w      Way
	rng    uint64
	header int
	free   time.Duration // the link is sending until then
	cursor cursor
}

// Flow is one connection's state in one direction: what it delivers stays in order.
type Flow struct{ last time.Duration }

// What a packet of a TCP connection carries: a segment, and 52 bytes of headers (IPv4 and TCP with
// timestamps) that take their share of the rate. Acknowledgements on the way back are left out.
const (
	segmentBytes = PacketBytes - headerBytes
	headerBytes  = 52
)

// Lanes begins both directions of a link: towards the target, and back.
func (c Config) Lanes() (up, down *Lane) { return newLane(c, c.Up, 1), newLane(c, c.Down, 2) }

func newLane(c Config, w Way, n uint64) *Lane {
	l := &Lane{c: c, w: w, rng: c.Seed*2 + n, header: headerBytes}
	if c.Header != 0 {
		l.header = max(0, c.Header)
	}
	if w.Trace != nil {
		l.cursor = newCursor(w.Trace)
	}
	return l
}

// Deliver returns when n bytes that a connection hands in at now (since the link's beginning; it never
// goes back) have been delivered.
func (l *Lane) Deliver(f *Flow, n int, now time.Duration) time.Duration {
	packets := max(1, (n+segmentBytes-1)/segmentBytes)
	sent := l.send(n+packets*l.header, now)
	at := sent + l.c.RTT/2
	if l.c.Jitter > 0 {
		at += time.Duration(l.random() * float64(l.c.Jitter))
	}
	if l.w.Loss > 0 {
		stall := time.Duration(0)
		for range packets {
			stall = max(stall, l.stall())
		}
		at += stall
	}
	f.last = max(f.last, at)
	return f.last
}

// send takes the link for so many bytes and returns when they have left.
func (l *Lane) send(bytes int, now time.Duration) time.Duration {
	switch {
	case l.w.Trace != nil:
		return l.cursor.take(bytes, now)
	case l.w.Rate > 0:
		l.free = max(l.free, now) + time.Duration(float64(bytes)*8/float64(l.w.Rate)*float64(time.Second))
		return l.free
	}
	return now
}

// stall is how much later a packet arrives for having been lost. The first loss shows by what
// follows it: a round trip, and a quarter for reordering (RFC 8985), and the acknowledgement's delay. When
// the repetition is lost too, the retransmission timeout counts, which doubles (RFC 6298).
func (l *Lane) stall() (d time.Duration) {
	timeout := max(minTimeout, 2*l.c.RTT)
	for k := 0; k < maxLosses && l.random() < l.w.Loss; k++ {
		if k == 0 {
			d = l.c.RTT*5/4 + ackDelay
			continue
		}
		d += timeout
		timeout *= 2
	}
	return d
}

const (
	ackDelay   = 10 * time.Millisecond
	minTimeout = 200 * time.Millisecond // Linux'
	maxLosses  = 8                      // of one packet
)

// random is in [0, 1).
func (l *Lane) random() float64 {
	l.rng += 0x9E3779B97F4A7C15 // SplitMix64
	x := l.rng
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return float64((x^x>>31)>>11) * 0x1p-53
}

package link

import (
	"net"
	"sync"
	"time"
)

// pair is one connection: the accepted half and the dialled one.
type pair struct {
	near, far *net.TCPConn
	mu        sync.Mutex
	over      bool
	done      chan struct{}
}

// join adds the dialled half, false when the pair was reset meanwhile.
func (p *pair) join(far *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		_ = far.Close()
		return false
	}
	p.far = far
	return true
}

// reset drops both halves at once, what is in flight is lost.
func (p *pair) reset() { p.end(true) }

// end closes both halves; abrupt: without delivering what the kernel still holds.
func (p *pair) end(abrupt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.over = true
	close(p.done)
	for _, c := range []*net.TCPConn{p.near, p.far} {
		if c != nil {
			if abrupt {
				_ = c.SetLinger(0)
			}
			_ = c.Close()
		}
	}
}

// sleepUntil waits, false when the pair was reset.
func (p *pair) sleepUntil(t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.done:
		return false
	}
}

// chunk is data in flight; nil data is the end of the stream.
type chunk struct {
	data []byte
	at   time.Time
}

const (
	chunkBytes = 16 << 10
	// Chunks in flight per connection and direction; beyond it the sender feels back-pressure.
	chunksInFlight = 128
)

// carry moves one direction of one connection. It returns when that direction is closed or broken.
func (k *Link) carry(p *pair, from, to *net.TCPConn, d *direction, notBefore time.Time) {
	flight := make(chan chunk, chunksInFlight)
	var wg sync.WaitGroup
	wg.Go(func() { k.deliver(p, to, d, flight) })
	defer wg.Wait()
	defer close(flight)
	f := Flow{last: notBefore.Sub(k.began)}
	for {
		buf := make([]byte, chunkBytes)
		n, err := from.Read(buf)
		c := chunk{at: d.schedule(&f, n, k.began)}
		if n > 0 {
			c.data = buf[:n:n]
			if n < chunkBytes/4 { // do not hold a large buffer for a small message
				c.data = append([]byte(nil), c.data...)
			}
		}
		if n > 0 || err != nil {
			select {
			case flight <- c:
			case <-p.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver writes chunks when their time has come.
func (k *Link) deliver(p *pair, to *net.TCPConn, d *direction, flight <-chan chunk) {
	for c := range flight {
		if !p.sleepUntil(c.at) {
			return
		}
		select {
		case <-k.open():
		case <-p.done:
			return
		}
		if c.data == nil {
			_ = to.CloseWrite()
			continue
		}
		n, err := to.Write(c.data)
		d.bytes.Add(int64(n))
		if err != nil {
			p.reset()
			return
		}
	}
}

// Package sidechannel measures what somebody learns who sees the packets between an edge and a cloud, not their content: it records
// sizes and times of real traffic on loopback and lets a classifier tell prompts apart by them.
package sidechannel

import (
	"context"
	"net"
	"sync"
	"time"
)

// Packet is one write as it went by.
type Packet struct {
	At   time.Duration // since the first one of the connection
	Down bool
	Size int
}

// Tap forwards the connections of one session and notes their packets.
type Tap struct {
	ctx      context.Context
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	began   time.Time
	conns   []net.Conn
	closed  bool
	packets []Packet
}

// Listen begins on a port of loopback.
func Listen(ctx context.Context, target string) (*Tap, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{ctx: ctx, listener: l, target: target}
	t.wg.Go(t.accept)
	return t, nil
}

// Addr is where an edge connects to.
func (t *Tap) Addr() string { return t.listener.Addr().String() }

// Packets are those so far.
func (t *Tap) Packets() []Packet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Packet(nil), t.packets...)
}

// Close ends all connections.
func (t *Tap) Close() {
	_ = t.listener.Close() // nothing to lose
	t.mu.Lock()
	t.closed = true
	for _, c := range t.conns {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// keep notes a connection that Close ends; false when it has been called.
func (t *Tap) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return false
	}
	t.conns = append(t.conns, c)
	return true
}

func (t *Tap) accept() {
	for {
		near, err := t.listener.Accept()
		if err != nil {
			return
		}
		far, err := new(net.Dialer).DialContext(t.ctx, "tcp", t.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !t.keep(near) || !t.keep(far) {
			_ = near.Close()
			return
		}
		t.wg.Go(func() { t.copy(far, near, false) })
		t.wg.Go(func() { t.copy(near, far, true) })
	}
}

func (t *Tap) copy(to, from net.Conn, down bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			now := time.Now()
			t.mu.Lock()
			if t.began.IsZero() {
				t.began = now
			}
			t.packets = append(t.packets, Packet{now.Sub(t.began), down, n})
			t.mu.Unlock()
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

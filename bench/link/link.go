// Package link emulates a wide-area network link on loopback: a TCP proxy with a round-trip time,
// jitter, loss and rates or recorded traces, which can be cut and taken down. When what arrives is
// delivered, Lane decides alone; the rest moves bytes. For tests, benchmarks and the demo.
package link

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a Link. Parse reads all but Target and Seed from a line.
type Config struct {
	Target   string        // host:port that the link leads to
	RTT      time.Duration // half of it in each direction; a new connection costs one RTT besides
	Jitter   time.Duration // each chunk is delayed by up to this much more; order is kept, as TCP does
	Up, Down Way           // towards the target, and back
	Header   int           // bytes of headers that count against a packet's rate; 0: 52, negative: none
	Seed     uint64        // of jitter and loss
}

// Link is a listening proxy. Its methods are safe for concurrent use.
type Link struct {
	c        Config
	began    time.Time
	listener net.Listener
	ctx      context.Context // ends with the Link; bounds its dials
	cancel   context.CancelFunc
	up, down direction
	wg       sync.WaitGroup

	mu     sync.Mutex
	pairs  map[*pair]struct{}
	closed bool
	gate   chan struct{} // closed while traffic may pass
	isDown bool
}

// Listen opens the proxy at addr ("127.0.0.1:0" for any free port). It ends with Close or ctx.
func Listen(ctx context.Context, addr string, c Config) (*Link, error) {
	if c.Target == "" {
		return nil, fmt.Errorf("an emulated link needs a target address")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot open the emulated link: %w", err)
	}
	k := &Link{c: c, began: time.Now(), listener: l, pairs: map[*pair]struct{}{}, gate: make(chan struct{})}
	close(k.gate)
	k.ctx, k.cancel = context.WithCancel(ctx)
	k.up.lane, k.down.lane = c.Lanes()
	k.wg.Go(k.accept)
	context.AfterFunc(k.ctx, func() { k.shut() })
	return k, nil
}

// Addr is where to dial.
func (k *Link) Addr() string { return k.listener.Addr().String() }

// Bytes counts what was delivered: up towards the target, down from it.
func (k *Link) Bytes() (up, down int64) { return k.up.bytes.Load(), k.down.bytes.Load() }

// Cut resets all present connections; new ones are served.
func (k *Link) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.pairs {
		p.reset()
	}
}

// SetDown takes the link down or up again. While it is down nothing passes, present connections
// hang as they do when a radio loses its network, and new ones are refused.
func (k *Link) SetDown(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if down == k.isDown || k.closed {
		return
	}
	if k.isDown = down; down {
		k.gate = make(chan struct{})
	} else {
		close(k.gate)
	}
}

// open returns a channel that is closed while traffic may pass.
func (k *Link) open() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gate
}

// Close stops the proxy and waits for its goroutines.
func (k *Link) Close() error {
	k.shut()
	k.wg.Wait()
	return nil
}

func (k *Link) shut() {
	k.cancel()
	_ = k.listener.Close()
	k.mu.Lock()
	k.closed = true
	for p := range k.pairs {
		p.reset()
	}
	k.mu.Unlock()
}

func (k *Link) accept() {
	for {
		near, err := k.listener.Accept()
		if err != nil {
			if k.ctx.Err() != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: try again
			continue
		}
		p := &pair{near: near.(*net.TCPConn), done: make(chan struct{})}
		k.mu.Lock()
		if k.closed || k.isDown {
			k.mu.Unlock()
			p.reset()
			continue
		}
		k.pairs[p] = struct{}{}
		k.mu.Unlock()
		k.wg.Go(func() {
			k.serve(p)
			k.mu.Lock()
			delete(k.pairs, p)
			k.mu.Unlock()
		})
	}
}

// serve connects one accepted connection: the far side learns of it after half an RTT, the near
// side's first bytes leave after a whole one (the handshake).
func (k *Link) serve(p *pair) {
	defer p.reset()
	began := time.Now()
	if !p.sleepUntil(began.Add(k.c.RTT / 2)) {
		return
	}
	far, err := (&net.Dialer{}).DialContext(k.ctx, "tcp", k.c.Target)
	if err != nil {
		return
	}
	if !p.join(far.(*net.TCPConn)) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { k.carry(p, p.near, p.far, &k.up, began.Add(k.c.RTT*3/2)) })
	wg.Go(func() { k.carry(p, p.far, p.near, &k.down, began) })
	wg.Wait()
	p.end(false)
}

// direction is what the connections share in one direction.
type direction struct {
	bytes atomic.Int64
	mu    sync.Mutex
	lane  *Lane
}

// schedule returns when a chunk that is handed in now has been delivered.
func (d *direction) schedule(f *Flow, n int, began time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return began.Add(d.lane.Deliver(f, n, time.Since(began)))
}

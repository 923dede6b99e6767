package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/outrider-llm/outrider/backend"
)

// flows counts what passes a layer of connections.
type flows struct{ up, down, writes atomic.Int64 }

// traffic is a reading of both layers: HTTP/2 frames as they go into TLS, TLS records as they go into TCP.
type traffic struct{ framesUp, framesDown, recordsUp, recordsDown, writes int64 }

func (t traffic) minus(o traffic) traffic {
	return traffic{t.framesUp - o.framesUp, t.framesDown - o.framesDown, t.recordsUp - o.recordsUp, t.recordsDown - o.recordsDown, t.writes - o.writes}
}

func (t *traffic) add(o traffic) { *t = t.minus(traffic{}.minus(o)) }

// metered are credentials that count the bytes above and below TLS.
type metered struct {
	credentials.TransportCredentials
	plain, wire *flows
}

func newMetered(c credentials.TransportCredentials) *metered { return &metered{c, &flows{}, &flows{}} }

func (m *metered) read() traffic {
	return traffic{m.plain.up.Load(), m.plain.down.Load(), m.wire.up.Load(), m.wire.down.Load(), m.wire.writes.Load()}
}

// ClientHandshake implements credentials.TransportCredentials.
func (m *metered) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := m.TransportCredentials.ClientHandshake(ctx, authority, &meteredConn{raw, m.wire})
	if err != nil {
		return nil, nil, err
	}
	return &meteredConn{c, m.plain}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (m *metered) Clone() credentials.TransportCredentials {
	return &metered{m.TransportCredentials.Clone(), m.plain, m.wire}
}

type meteredConn struct {
	net.Conn
	f *flows
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.down.Add(int64(n))
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.f.up.Add(int64(n))
	c.f.writes.Add(1)
	return n, err
}

// timed is a draft of which the mean time of a drafted token is told, the way to its process included.
type timed struct {
	*backend.Host
	mu   sync.Mutex
	took time.Duration
	n    int
}

// Forward implements backend.Model.
func (d *timed) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	begin := time.Now()
	out, err := d.Host.Forward(ctx, batch)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(batch) == 1 && len(batch[0].Tokens) <= 2 {
		d.took += time.Since(begin)
		d.n++
	}
	return out, err
}

// mean since the last call, and begin anew.
func (d *timed) mean() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.took / time.Duration(max(1, d.n))
	d.took, d.n = 0, 0
	return m
}

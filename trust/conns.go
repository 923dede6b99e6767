package trust

import (
	"context"
	"crypto/x509"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// CloseEvery is how often open connections are looked at: one of a certificate that has been revoked or has
// expired is closed. An edge with a new certificate connects anew and resumes.
const CloseEvery = 2 * time.Second

// conns are the open connections and what their peers have shown.
type conns struct {
	mu  sync.Mutex
	all map[*tracked]*x509.Certificate
}

// tracked is a connection that is known until it is closed.
type tracked struct {
	net.Conn
	of *conns
}

// Close implements net.Conn.
func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.all, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}

// track lets Watch close a connection whose peer has shown a certificate.
func (c *conns) track(conn net.Conn, info credentials.AuthInfo) net.Conn {
	tls, ok := info.(credentials.TLSInfo)
	if !ok || len(tls.State.PeerCertificates) == 0 {
		return conn
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[*tracked]*x509.Certificate{}
	}
	t := &tracked{conn, c}
	c.all[t] = tls.State.PeerCertificates[0]
	return t
}

// Watch closes connections whose certificates are not valid any more, until ctx is done.
func (s *Server) Watch(ctx context.Context) {
	tick := time.NewTicker(CloseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.closeInvalid()
		}
	}
}

func (s *Server) closeInvalid() {
	var why []error
	var whose []*tracked
	s.conns.mu.Lock()
	for t, c := range s.conns.all {
		if err := s.Valid(c); err != nil {
			whose, why = append(whose, t), append(why, err)
		}
	}
	s.conns.mu.Unlock()
	for i, t := range whose {
		_ = t.Close() // its peer will notice
		if s.Refused != nil {
			s.Refused(t.RemoteAddr(), why[i])
		}
	}
}

package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// ClientFiles are PEM files of an edge.
type ClientFiles struct {
	CA         string // authorities that the cloud's certificate may come from; empty: the system's
	Cert, Key  string // shown to the cloud; empty: none
	ServerName string // that the cloud's certificate must have; empty: the host of the address
}

type clientState struct {
	pair *tls.Certificate
	pool *x509.CertPool // nil: the system's
}

// NewClient makes TLS for an edge: version 1.3 only, files read anew when they change, for the connections
// made from then on.
func NewClient(f ClientFiles, log *slog.Logger) (credentials.TransportCredentials, error) {
	c := &client{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, ServerName: f.ServerName}), name: f.ServerName}
	c.state = &watched[*clientState]{paths: []string{f.CA, f.Cert, f.Key}, read: f.read, told: func(v *clientState, err error) { tell(log, v.pair, err) }}
	if err := c.state.open(); err != nil {
		return nil, err
	}
	warnOfEnd(log, c.state.value.pair)
	return c, nil
}

func (f ClientFiles) read() (*clientState, error) {
	v := &clientState{}
	if f.CA != "" {
		cas, err := ReadCertificates(f.CA)
		if err != nil {
			return nil, err
		}
		v.pool = poolOf(cas)
	}
	if f.Cert == "" {
		return v, nil
	}
	var err error
	v.pair, err = readPair(f.Cert, f.Key)
	return v, err
}

// client makes each handshake with what the files hold then.
type client struct {
	credentials.TransportCredentials // for what does not depend on the files
	state                            *watched[*clientState]
	name                             string
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *client) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	v := c.state.get()
	t := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: v.pool, ServerName: c.name}
	if v.pair != nil {
		if end := v.pair.Leaf.NotAfter; time.Now().After(end) { // the cloud's refusal may come too late to be read
			return nil, nil, fmt.Errorf("%w: this edge's, on %s: renew it with `outrider certs renew`", ErrExpired, end.Format(time.DateTime))
		}
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return v.pair, nil }
	}
	return credentials.NewTLS(t).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (c *client) Clone() credentials.TransportCredentials {
	return &client{c.TransportCredentials.Clone(), c.state, c.name}
}

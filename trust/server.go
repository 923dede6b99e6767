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
	"google.golang.org/grpc/peer"
)

// ServerFiles are PEM files of a server.
type ServerFiles struct {
	Cert, Key string
	ClientCA  string // authorities whose certificates edges may show; empty: none is asked for
	CRL       string // certificates that were taken back; empty: none
	Optional  bool   // an edge may come without a certificate: a token says who it is
}

// Server makes TLS for a server: version 1.3 only, files read anew when they change.
type Server struct {
	files ServerFiles
	state watched[*serverState]
	conns conns
	// Refused is told why a handshake was refused or a connection closed; nil: nobody is.
	Refused func(remote net.Addr, err error)
}

type serverState struct {
	pair    *tls.Certificate
	clients *x509.CertPool
	revoked map[string]bool // by issuer and serial number
	until   time.Time       // the list of them holds; zero: for ever
}

// NewServer reads the files.
func NewServer(f ServerFiles, log *slog.Logger) (*Server, error) {
	s := &Server{files: f}
	s.state = watched[*serverState]{paths: []string{f.Cert, f.Key, f.ClientCA, f.CRL}, read: s.read, told: func(v *serverState, err error) {
		tell(log, v.pair, err)
	}}
	if err := s.state.open(); err != nil {
		return nil, err
	}
	warnOfEnd(log, s.state.value.pair)
	return s, nil
}

// tell logs what became of changed files.
func tell(log *slog.Logger, pair *tls.Certificate, err error) {
	if err != nil {
		log.Error("the new certificates are not taken, the old ones stay in force", "error", err)
		return
	}
	log.Info("certificates were read anew")
	warnOfEnd(log, pair)
}

// warnOfEnd warns in the last two weeks of a certificate.
func warnOfEnd(log *slog.Logger, pair *tls.Certificate) {
	if pair == nil {
		return
	}
	if end := pair.Leaf.NotAfter; time.Until(end) < 14*24*time.Hour {
		log.Warn("the certificate ends soon: renew it with `outrider certs renew`", "name", pair.Leaf.Subject.CommonName, "ends", end.Format(time.DateTime))
	}
}

func (s *Server) read() (*serverState, error) {
	f, v := s.files, &serverState{}
	var err error
	if v.pair, err = readPair(f.Cert, f.Key); err != nil {
		return nil, err
	}
	if time.Now().After(v.pair.Leaf.NotAfter) {
		return nil, certError("%s has expired on %s: renew it with `outrider certs renew %s`", f.Cert, v.pair.Leaf.NotAfter.Format(time.DateOnly),
			v.pair.Leaf.Subject.CommonName)
	}
	if f.ClientCA == "" {
		return v, nil
	}
	cas, err := ReadCertificates(f.ClientCA)
	if err != nil {
		return nil, err
	}
	v.clients = poolOf(cas)
	if f.CRL == "" {
		return v, nil
	}
	list, err := readCRL(f.CRL, cas)
	if err != nil {
		return nil, err
	}
	v.until, v.revoked = list.NextUpdate, map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		v.revoked[string(list.RawIssuer)+serial(e.SerialNumber)] = true
	}
	return v, nil
}

func poolOf(cas []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range cas {
		p.AddCert(c)
	}
	return p
}

// Credentials are what a gRPC server takes.
func (s *Server) Credentials() credentials.TransportCredentials {
	return &watchedHandshake{TransportCredentials: credentials.NewTLS(s.config(s.state.value)), s: s}
}

// config is the TLS of one handshake.
func (s *Server) config(v *serverState) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*v.pair},
		SessionTicketsDisabled: true, // each connection proves itself anew
		VerifyConnection:       func(c tls.ConnectionState) error { return s.verify(c.PeerCertificates) }}
	if v.clients != nil {
		c.ClientCAs, c.ClientAuth = v.clients, tls.RequireAndVerifyClientCert
		if s.files.Optional {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return c
}

// verify says why a certificate that the authority made is not let in all the same.
func (s *Server) verify(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return nil
	}
	if err := s.Valid(chain[0]); err != nil {
		return err
	}
	_, err := IdentityOf(chain[0])
	return err
}

// Valid says why a certificate that was let in is not valid any more, nil when it is.
func (s *Server) Valid(c *x509.Certificate) error {
	v, now := s.state.get(), time.Now()
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("%w: %s", ErrExpired, c.NotAfter.UTC().Format(time.DateTime))
	case !v.until.IsZero() && now.After(v.until):
		return fmt.Errorf("%w: the list of revoked certificates has expired: make a new one", ErrCertificate)
	case v.revoked[string(c.RawIssuer)+serial(c.SerialNumber)]:
		return ErrRevoked
	}
	return nil
}

// watchedHandshake makes each handshake with what the files hold then.
type watchedHandshake struct {
	credentials.TransportCredentials // for what does not depend on the files
	s                                *Server
}

// ServerHandshake implements credentials.TransportCredentials.
func (w *watchedHandshake) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	out, info, err := credentials.NewTLS(w.s.config(w.s.state.get())).ServerHandshake(conn)
	if err != nil && w.s.Refused != nil {
		w.s.Refused(conn.RemoteAddr(), err)
	}
	if err != nil {
		return nil, nil, err
	}
	return w.s.conns.track(out, info), info, nil
}

// Clone implements credentials.TransportCredentials.
func (w *watchedHandshake) Clone() credentials.TransportCredentials {
	return &watchedHandshake{w.TransportCredentials.Clone(), w.s}
}

// CertificateOf returns the certificate that the peer of an RPC has shown, nil: none.
func CertificateOf(ctx context.Context) *x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	return info.State.PeerCertificates[0]
}

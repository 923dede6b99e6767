package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func authority(t *testing.T, now time.Time) *Authority {
	t.Helper()
	a, err := Init(filepath.Join(t.TempDir(), "certs"), "test", AuthorityLife, now)
	if err != nil {
		t.Fatal(err)
	}
	a.now = func() time.Time { return now }
	return a
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// served is a gRPC server with a health service that only who is authenticated may call.
type served struct {
	addr    string
	server  *Server
	refused chan error
}

func serve(t *testing.T, f ServerFiles, tokens func(string) (string, bool)) *served {
	t.Helper()
	s := must[*Server](t)(NewServer(f, quiet()))
	v := &served{server: s, refused: make(chan error, 64)}
	s.Refused = func(_ net.Addr, err error) { v.refused <- err }
	auth := &Authenticator{TLS: s, Tokens: tokens}
	gs := grpc.NewServer(grpc.Creds(s.Credentials()), grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		p, err := auth.Authenticate(ctx, "")
		if err != nil {
			return nil, err
		}
		if r.(*healthv1.HealthCheckRequest).GetService() == "who" {
			return nil, status.Error(codes.Aborted, p.String())
		}
		return h(ctx, r)
	}))
	healthv1.RegisterHealthServer(gs, health.NewServer())
	lis := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	done := make(chan error, 1)
	go func() { done <- gs.Serve(lis) }()
	t.Cleanup(func() { gs.Stop(); <-done })
	v.addr = lis.Addr().String()
	return v
}

func dial(t *testing.T, addr string, creds credentials.TransportCredentials, o ...grpc.DialOption) healthv1.HealthClient {
	t.Helper()
	conn := must[*grpc.ClientConn](t)(grpc.NewClient(addr, append(o, grpc.WithTransportCredentials(creds))...))
	t.Cleanup(func() { _ = conn.Close() })
	return healthv1.NewHealthClient(conn)
}

// who asks a server who it thinks this is.
func who(t *testing.T, c healthv1.HealthClient) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := c.Check(ctx, &healthv1.HealthCheckRequest{Service: "who"})
	if status.Code(err) == codes.Aborted {
		return status.Convert(err).Message(), nil
	}
	return "", err
}

func files(a *Authority, p Pair) ClientFiles {
	return ClientFiles{CA: a.CA(), Cert: p.Cert, Key: p.Key}
}

func tlsOf(t *testing.T, f ClientFiles) credentials.TransportCredentials {
	t.Helper()
	return must[credentials.TransportCredentials](t)(NewClient(f, quiet()))
}

// TestHandshakes: who comes in, and why others do not.
func TestHandshakes(t *testing.T) {
	now := time.Now()
	a, other, past := authority(t, now), authority(t, now), time.Now().Add(-48*time.Hour)
	srv := must[Pair](t)(a.IssueServer("gpu1", []string{"localhost", "127.0.0.1"}, LeafLife))
	edge := must[Pair](t)(a.IssueEdge(Identity{"acme", "laptop"}, LeafLife))
	gone := must[Pair](t)(a.IssueEdge(Identity{"acme", "lost"}, LeafLife))
	if n := must[int](t)(a.Revoke("acme/lost")); n != 1 {
		t.Fatal(n)
	}
	a.now = func() time.Time { return past }
	expired := must[Pair](t)(a.IssueEdge(Identity{"acme", "old"}, 24*time.Hour))
	a.now = time.Now
	foreign := must[Pair](t)(other.IssueEdge(Identity{"acme", "laptop"}, LeafLife))
	v := serve(t, ServerFiles{Cert: srv.Cert, Key: srv.Key, ClientCA: a.CA(), CRL: a.CRL()}, nil)

	if got, err := who(t, dial(t, v.addr, tlsOf(t, files(a, edge)))); err != nil || got != "acme/laptop" {
		t.Errorf("a good certificate: %q, %v", got, err)
	}
	loadTLS := func(p Pair, c *tls.Config) *tls.Config {
		pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(p.Cert, p.Key))
		c.RootCAs, c.Certificates = poolOf(must2(t, a.CA())), []tls.Certificate{pair}
		return c
	}
	if _, err := who(t, dial(t, v.addr, tlsOf(t, files(a, expired)))); err == nil || !strings.Contains(err.Error(), "outrider certs renew") {
		t.Errorf("an expired certificate of one's own: %v", err)
	}
	for name, c := range map[string]struct {
		creds  credentials.TransportCredentials
		server string // what the server says
		edge   string // what the edge is told
	}{
		"expired":             {credentials.NewTLS(loadTLS(expired, &tls.Config{})), "expired", ""},
		"wrong authority":     {tlsOf(t, ClientFiles{CA: a.CA(), Cert: foreign.Cert, Key: foreign.Key}), "unknown authority", ""},
		"revoked":             {tlsOf(t, files(a, gone)), "revoked", ""},
		"none":                {tlsOf(t, ClientFiles{CA: a.CA()}), "didn't provide a certificate", ""},
		"a server's":          {tlsOf(t, files(a, srv)), "incompatible key usage", ""},
		"TLS 1.2":             {credentials.NewTLS(loadTLS(edge, &tls.Config{MaxVersion: tls.VersionTLS12})), "versions", "protocol version"},
		"plain text":          {insecure.NewCredentials(), "first record does not look like a TLS handshake", ""},
		"cloud not known":     {tlsOf(t, ClientFiles{CA: other.CA(), Cert: edge.Cert, Key: edge.Key}), "bad certificate", "unknown authority"},
		"cloud of other name": {tlsOf(t, ClientFiles{CA: a.CA(), Cert: edge.Cert, Key: edge.Key, ServerName: "gpu2"}), "bad certificate", "gpu2"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := who(t, dial(t, v.addr, c.creds))
			if err == nil || status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), c.edge) {
				t.Errorf("the edge is told %q, %v", got, err)
			}
			var said error
			for late := time.After(5 * time.Second); said == nil || !strings.Contains(said.Error(), c.server); {
				select {
				case said = <-v.refused: // or an earlier one's
				case <-late:
					t.Fatalf("the server says %v", said)
				}
			}
		})
	}
}

func must2(t *testing.T, path string) []*x509.Certificate {
	t.Helper()
	return must[[]*x509.Certificate](t)(ReadCertificates(path))
}

// TestRotation: both sides take new files for the next connection while one of the old files is open; a
// revoked one is closed.
func TestRotation(t *testing.T) {
	a := authority(t, time.Now())
	a.now = time.Now
	srv := must[Pair](t)(a.IssueServer("gpu1", []string{"127.0.0.1"}, LeafLife))
	edge := must[Pair](t)(a.IssueEdge(Identity{"acme", "laptop"}, LeafLife))
	first := must[[]Issued](t)(a.List())
	v := serve(t, ServerFiles{Cert: srv.Cert, Key: srv.Key, ClientCA: a.CA(), CRL: a.CRL()}, nil)
	creds := tlsOf(t, files(a, edge))
	open := dial(t, v.addr, creds)
	if _, err := who(t, open); err != nil {
		t.Fatal(err)
	}
	must[Pair](t)(a.Renew("gpu1", LeafLife))
	must[Pair](t)(a.Renew("acme/laptop", LeafLife))
	var edgeSerial string
	for _, i := range first {
		if i.Kind == "edge" {
			edgeSerial = i.Serial
		}
	}
	if n := must[int](t)(a.Revoke(edgeSerial)); n != 1 { // the old one only
		t.Fatal(n)
	}
	if err := os.WriteFile(srv.Key+".junk", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lookEvery + 50*time.Millisecond)
	if got, err := who(t, dial(t, v.addr, creds)); err != nil || got != "acme/laptop" {
		t.Errorf("with the new files: %q, %v", got, err)
	}
	if _, err := who(t, open); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("on the open connection: %v", err)
	}
	v.server.closeInvalid()
	if err := <-v.refused; !errors.Is(err, ErrRevoked) {
		t.Error(err)
	}
	_, err := who(t, open)
	for end := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(end); {
		_, err = who(t, open) // connects anew, with the new one
	}
	if err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(srv.Cert, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lookEvery + 50*time.Millisecond)
	if _, err := who(t, dial(t, v.addr, creds)); err != nil {
		t.Errorf("a broken file does not leave the old certificate in force: %v", err)
	}
}

func TestTokens(t *testing.T) {
	a := authority(t, time.Now())
	srv := must[Pair](t)(a.IssueServer("gpu1", []string{"127.0.0.1"}, LeafLife))
	good := map[string]string{"secret": "acme/laptop", "odd": "a b"}
	v := serve(t, ServerFiles{Cert: srv.Cert, Key: srv.Key, ClientCA: a.CA(), Optional: true}, func(s string) (string, bool) { n, ok := good[s]; return n, ok })
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	creds := tlsOf(t, ClientFiles{CA: a.CA()})
	if got, err := who(t, dial(t, v.addr, creds, grpc.WithPerRPCCredentials(must[*Token](t)(FileToken(file, false))))); err != nil || got != "acme/laptop" {
		t.Errorf("%q, %v", got, err)
	}
	for token, says := range map[string]string{"wrong": "not one of", "odd": "TENANT/EDGE", "": "asks for a token"} {
		var o []grpc.DialOption
		if token != "" {
			o = append(o, grpc.WithPerRPCCredentials(FixedToken(token, false)))
		}
		if _, err := who(t, dial(t, v.addr, creds, o...)); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), says) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	if _, err := FileToken(filepath.Join(t.TempDir(), "none"), false); !errors.Is(err, ErrIdentity) {
		t.Error(err)
	}
	edge := must[Pair](t)(a.IssueEdge(Identity{"other", "box"}, LeafLife)) // a certificate does as well
	if got, err := who(t, dial(t, v.addr, tlsOf(t, files(a, edge)))); err != nil || got != "other/box" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestClaimedTenant: a claim counts only where it agrees with what is proven.
func TestClaimedTenant(t *testing.T) {
	auth := &Authenticator{Tokens: func(string) (string, bool) { return "acme", true }}
	ctx := metadataContext(t, "authorization", "bearer x")
	for claimed, want := range map[string]codes.Code{"": codes.OK, "acme": codes.OK, "evil": codes.PermissionDenied} {
		if p, err := auth.Authenticate(ctx, claimed); status.Code(err) != want || (err == nil && p.Tenant != "acme") {
			t.Errorf("%q: %+v, %v", claimed, p, err)
		}
	}
}

func TestAuthority(t *testing.T) {
	a := authority(t, time.Now())
	a.now = time.Now
	if _, err := Init(a.dir, "x", AuthorityLife, time.Now()); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
	if _, err := Open(t.TempDir(), time.Now); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), "outrider certs init") {
		t.Error(err)
	}
	again := must[*Authority](t)(Open(a.dir, time.Now))
	for what, err := range map[string]error{
		"no host":   second(again.IssueServer("s", nil, LeafLife)),
		"bad host":  second(again.IssueServer("s", []string{"http://x"}, LeafLife)),
		"bad name":  second(again.IssueServer("../s", []string{"x"}, LeafLife)),
		"traversal": second(again.IssueEdge(Identity{"..", "x"}, LeafLife)),
		"too long":  second(again.IssueEdge(Identity{"a", "x"}, 30*365*24*time.Hour)),
		"unknown":   second(again.Renew("nobody", LeafLife)),
	} {
		if !errors.Is(err, ErrCertificate) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	must[Pair](t)(again.IssueEdge(Identity{"a", "x"}, LeafLife))
	if n := must[int](t)(again.Revoke("a/x")) + must[int](t)(again.Revoke("a/x")); n != 1 {
		t.Errorf("%d were revoked, want 1", n)
	}
	if runtime.GOOS == "windows" {
		return
	}
	_ = filepath.Walk(a.dir, func(p string, info os.FileInfo, err error) error {
		if mode := info.Mode().Perm(); err != nil || mode&0o077 != 0 {
			t.Errorf("%s has mode %o", p, mode)
		}
		return err
	})
}

func second[T any](_ T, err error) error { return err }

// TestForeignList: a list of another authority revokes nothing and is told of.
func TestForeignList(t *testing.T) {
	a, other := authority(t, time.Now()), authority(t, time.Now())
	srv := must[Pair](t)(a.IssueServer("gpu1", []string{"127.0.0.1"}, LeafLife))
	if _, err := NewServer(ServerFiles{Cert: srv.Cert, Key: srv.Key, ClientCA: a.CA(), CRL: other.CRL()}, quiet()); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), "not signed") {
		t.Error(err)
	}
	if _, err := NewServer(ServerFiles{Cert: srv.Cert, Key: a.path(caKey)}, quiet()); !errors.Is(err, ErrCertificate) {
		t.Error(err)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("acme/laptop")
	f.Add("/")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseIdentity(s); err == nil && id.String() != s {
			t.Errorf("%q became %q", s, id)
		}
	})
}

func metadataContext(t *testing.T, kv ...string) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs(kv...))
}

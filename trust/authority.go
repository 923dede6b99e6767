package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"time"
)

// Lifetimes unless others are asked for.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	LeafLife      = 90 * 24 * time.Hour
	maxLeafLife   = 2 * 365 * 24 * time.Hour
	// backdate forgives clocks that are slow.
	backdate = 5 * time.Minute
)

// Authority is a folder with a certificate authority: ca.pem and ca.key, crl.pem, a copy of each
// certificate in issued/, and servers' and edges' certificates with their keys in server/ and edge/.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

// Files of an authority.
const (
	caFile  = "ca.pem"
	caKey   = "ca.key"
	crlFile = "crl.pem"
)

// Pair names the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// Init makes an authority in a folder that has none.
func Init(dir, name string, life time.Duration, now time.Time) (*Authority, error) {
	a := &Authority{dir: dir, now: func() time.Time { return now }}
	switch {
	case exists(a.path(caFile)) || exists(a.path(caKey)):
		return nil, certError("%s has an authority already: choose another folder with --dir; nothing was changed", dir)
	case !ValidName(name):
		return nil, certError("the name %q: use letters, digits, dots, hyphens and underscores", name)
	case life < time.Hour:
		return nil, certError("a life of %s: an authority needs an hour at least", life)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	t := template(now, life)
	t.Subject = pkix.Name{CommonName: name}
	t.IsCA, t.MaxPathLenZero, t.BasicConstraintsValid = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, certError("%w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, certError("%w", err)
	}
	a.key = key
	if err := writeKey(a.path(caKey), key); err != nil {
		return nil, err
	}
	if err := writePEM(a.path(caFile), pemCertificate, der); err != nil {
		return nil, err
	}
	return a, a.writeCRL(nil, 1)
}

// Open opens the authority in a folder.
func Open(dir string, now func() time.Time) (*Authority, error) {
	a := &Authority{dir: dir, now: now}
	if !exists(a.path(caFile)) {
		return nil, certError("there is no authority in %s: make one with `outrider certs init --dir %s`, or name its folder with --dir", dir, dir)
	}
	all, err := ReadCertificates(a.path(caFile))
	if err != nil {
		return nil, err
	}
	a.cert = all[0]
	if a.key, err = readKey(a.path(caKey)); err != nil {
		return nil, err
	}
	if !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil, certError("%s is not the key of %s: put both back from one backup", a.path(caKey), a.path(caFile))
	}
	return a, nil
}

// CA is the file with the authority's certificate.
func (a *Authority) CA() string { return a.path(caFile) }

// CRL is the file that lists the revoked certificates.
func (a *Authority) CRL() string { return a.path(crlFile) }

// Dir is the authority's folder.
func (a *Authority) Dir() string { return a.dir }

func (a *Authority) path(name ...string) string {
	return filepath.Join(append([]string{a.dir}, name...)...)
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, certError("%w", err)
	}
	return key, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return certError("%w", err)
	}
	return writePEM(path, pemKey, der)
}

// template is a certificate with a serial number and a time.
func template(now time.Time, life time.Duration) *x509.Certificate {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] = b[0]&0x7f | 0x40
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(b[:]), NotBefore: now.Add(-backdate), NotAfter: now.Add(life)}
}

// IssueServer makes a certificate for a cloud that edges reach by these host names and addresses.
func (a *Authority) IssueServer(name string, hosts []string, life time.Duration) (Pair, error) {
	if !ValidName(name) {
		return Pair{}, certError("the server's name %q: use letters, digits, dots, hyphens and underscores", name)
	}
	if len(hosts) == 0 {
		return Pair{}, certError("name the hosts or addresses by which edges reach %s, such as --host gpu1.example.org,10.0.0.5", name)
	}
	t := template(a.now(), life)
	t.Subject = pkix.Name{CommonName: name}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		switch ip := net.ParseIP(h); {
		case ip != nil:
			t.IPAddresses = append(t.IPAddresses, ip)
		case validHost(h):
			t.DNSNames = append(t.DNSNames, h)
		default:
			return Pair{}, certError("%q is neither a host name nor an address: leave out ports and schemes", h)
		}
	}
	return a.issue(t, a.pair("server", name), life)
}

// IssueEdge makes a certificate for an edge of a tenant.
func (a *Authority) IssueEdge(id Identity, life time.Duration) (Pair, error) {
	if !ValidName(id.Tenant) || !ValidName(id.Edge) {
		return Pair{}, certError("%q is not TENANT/EDGE: use letters, digits, dots, hyphens and underscores, such as acme/laptop", id)
	}
	t := template(a.now(), life)
	t.Subject = pkix.Name{CommonName: id.Edge, Organization: []string{id.Tenant}}
	t.URIs = []*url.URL{id.uri()}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(t, a.pair("edge", id.Tenant, id.Edge), life)
}

func (a *Authority) pair(name ...string) Pair {
	p := a.path(name...)
	return Pair{p + ".pem", p + ".key"}
}

// issue signs a certificate with a new key. The key is written first: a server that looks in between finds
// a pair that does not fit, and keeps the one that it has.
func (a *Authority) issue(t *x509.Certificate, to Pair, life time.Duration) (Pair, error) {
	switch {
	case life < time.Minute || life > maxLeafLife:
		return Pair{}, certError("a life of %s: from a minute to two years are allowed", life)
	case t.NotAfter.After(a.cert.NotAfter):
		return Pair{}, certError("the authority itself ends on %s: choose fewer --days, or make a new authority", a.cert.NotAfter.Format(time.DateOnly))
	}
	t.KeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, certError("%w", err)
	}
	if err := writePEM(a.path("issued", serial(t.SerialNumber)+".pem"), pemCertificate, der); err != nil {
		return Pair{}, err
	}
	if err := writeKey(to.Key, key); err != nil {
		return Pair{}, err
	}
	return to, writePEM(to.Cert, pemCertificate, der)
}

func serial(n *big.Int) string { return n.Text(16) }

func validHost(h string) bool {
	if h == "" || len(h) > 253 {
		return false
	}
	for _, r := range h {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '*' && r != '_' {
			return false
		}
	}
	return true
}

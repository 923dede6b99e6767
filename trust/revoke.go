package trust

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Issued is a certificate that an authority has made.
type Issued struct {
	Name    string // server's name, or TENANT/EDGE
	Kind    string // server or edge
	Serial  string // hexadecimal
	Expires time.Time
	Revoked time.Time // zero: it is not

	cert *x509.Certificate
}

// List returns what was issued, the newest of each name first.
func (a *Authority) List() ([]Issued, error) {
	files, err := filepath.Glob(a.path("issued", "*.pem"))
	if err != nil {
		return nil, certError("%w", err)
	}
	list, err := a.revoked()
	if err != nil {
		return nil, err
	}
	gone := map[string]time.Time{}
	for _, e := range list.RevokedCertificateEntries {
		gone[serial(e.SerialNumber)] = e.RevocationTime
	}
	var out []Issued
	for _, f := range files {
		certs, err := ReadCertificates(f)
		if err != nil {
			return nil, err
		}
		i := describe(certs[0])
		i.Revoked = gone[i.Serial]
		out = append(out, i)
	}
	slices.SortFunc(out, func(x, y Issued) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name), y.cert.NotBefore.Compare(x.cert.NotBefore))
	})
	return out, nil
}

func describe(c *x509.Certificate) Issued {
	i := Issued{Name: c.Subject.CommonName, Kind: "server", Serial: serial(c.SerialNumber), Expires: c.NotAfter, cert: c}
	if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		i.Kind = "edge"
		if id, err := IdentityOf(c); err == nil {
			i.Name = id.String()
		}
	}
	return i
}

// find returns the certificates of a name, the newest first, or the one of a serial number.
func (a *Authority) find(which string) ([]Issued, error) {
	list, err := a.List()
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(list, func(i Issued) bool { return i.Name != which && i.Serial != strings.ToLower(which) })
	if len(found) == 0 {
		return nil, certError("no certificate is called %q: `outrider certs list --dir %s` shows names and serial numbers", which, a.dir)
	}
	return found, nil
}

// Renew makes a new certificate with a new key for a name, in the same files, with the hosts of the newest
// one. The old one stays valid until its end.
func (a *Authority) Renew(name string, life time.Duration) (Pair, error) {
	found, err := a.find(name)
	if err != nil {
		return Pair{}, err
	}
	newest := found[0]
	if newest.Kind == "edge" {
		id, err := IdentityOf(newest.cert)
		if err != nil {
			return Pair{}, err
		}
		return a.IssueEdge(id, life)
	}
	hosts := slices.Clone(newest.cert.DNSNames)
	for _, ip := range newest.cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return a.IssueServer(newest.Name, hosts, life)
}

// Revoke takes back all certificates of a name, or the one of a serial number, by the list in crl.pem. It
// returns how many it took back now.
func (a *Authority) Revoke(which string) (int, error) {
	found, err := a.find(which)
	if err != nil {
		return 0, err
	}
	list, err := a.revoked()
	if err != nil {
		return 0, err
	}
	entries, n := list.RevokedCertificateEntries, 0
	for _, i := range found {
		if i.Revoked.IsZero() {
			entries = append(entries, x509.RevocationListEntry{SerialNumber: i.cert.SerialNumber, RevocationTime: a.now()})
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, a.writeCRL(entries, list.Number.Int64()+1)
}

func (a *Authority) revoked() (*x509.RevocationList, error) {
	return readCRL(a.path(crlFile), []*x509.Certificate{a.cert})
}

// writeCRL writes the list. It holds as long as the authority: nobody is there to renew it each week, and
// clouds take a new one within a second.
func (a *Authority) writeCRL(entries []x509.RevocationListEntry, number int64) error {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: a.now(),
		NextUpdate: a.cert.NotAfter, RevokedCertificateEntries: entries}, a.cert, a.key)
	if err != nil {
		return certError("%w", err)
	}
	return writePEM(a.path(crlFile), pemCRL, der)
}

// readCRL reads a list that one of these authorities has signed.
func readCRL(path string, cas []*x509.Certificate) (*x509.RevocationList, error) {
	blocks, err := readPEM(path, pemCRL)
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(blocks[0])
	if err != nil {
		return nil, certError("%s: %w", path, err)
	}
	for _, ca := range cas {
		if list.CheckSignatureFrom(ca) == nil {
			return list, nil
		}
	}
	return nil, certError("%s was not signed by the authority in use: copy crl.pem and ca.pem from the same folder", path)
}

// Find returns what a PEM file holds, or the newest certificate that the authority in dir made under a name
// or serial number.
func Find(dir, which string, now func() time.Time) (*x509.Certificate, error) {
	if _, err := os.Stat(which); err == nil {
		all, err := ReadCertificates(which)
		if err != nil {
			return nil, err
		}
		return all[0], nil
	}
	a, err := Open(dir, now)
	if err != nil {
		return nil, err
	}
	found, err := a.find(which)
	if err != nil {
		return nil, err
	}
	return found[0].cert, nil
}

// Package trust says who is at the other end: certificates of a small authority of one's own, mutual TLS
// whose files may change while it runs, and tokens as the alternative. It knows nothing of models.
package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Errors that this package wraps.
var (
	// ErrCertificate: a certificate, key, list or the authority's folder cannot be used as asked.
	ErrCertificate = errors.New("certificates")
	// ErrIdentity: the peer does not say, or cannot prove, who it is.
	ErrIdentity = errors.New("not authenticated")
	// ErrRevoked: the certificate was taken back.
	ErrRevoked = errors.New("the certificate was revoked")
	// ErrExpired: the certificate's time is over.
	ErrExpired = errors.New("the certificate has expired")
	// ErrTenant: the peer says that it is another tenant's than its certificate or token does.
	ErrTenant = errors.New("the tenant is another one")
)

// Identity is who a peer is.
type Identity struct {
	Tenant string // whose sessions are
	Edge   string // one of the tenant's devices
}

// String is TENANT/EDGE, as `outrider certs edge` and key files have it.
func (i Identity) String() string {
	if i.Edge == "" {
		return i.Tenant
	}
	return i.Tenant + "/" + i.Edge
}

// name is what tenants, edges and servers may be called: it becomes a file's name and part of a URI.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// ValidName says whether a tenant, an edge or a server may be called so.
func ValidName(s string) bool { return name.MatchString(s) }

// ParseIdentity reads TENANT/EDGE, or TENANT alone.
func ParseIdentity(s string) (Identity, error) {
	tenant, edge, both := strings.Cut(s, "/")
	if !ValidName(tenant) || (both && !ValidName(edge)) {
		return Identity{}, fmt.Errorf("%w: %q is not TENANT/EDGE: use letters, digits, dots, hyphens and underscores, such as acme/laptop", ErrIdentity, s)
	}
	return Identity{tenant, edge}, nil
}

const uriScheme = "outrider"

// uri is outrider://tenant/NAME/edge/NAME.
func (i Identity) uri() *url.URL {
	return &url.URL{Scheme: uriScheme, Host: "tenant", Path: "/" + i.Tenant + "/edge/" + i.Edge}
}

// IdentityOf reads a certificate: its URI outrider://tenant/NAME/edge/NAME, or, of an authority that writes
// none, the subject's organisation and common name.
func IdentityOf(c *x509.Certificate) (Identity, error) {
	for _, u := range c.URIs {
		if u.Scheme != uriScheme {
			continue
		}
		f := strings.Split(u.Path, "/")
		if u.Host != "tenant" || len(f) != 4 || f[2] != "edge" || !ValidName(f[1]) || !ValidName(f[3]) {
			return Identity{}, fmt.Errorf("%w: the certificate's URI %q is not outrider://tenant/NAME/edge/NAME", ErrIdentity, u)
		}
		return Identity{f[1], f[3]}, nil
	}
	if o := c.Subject.Organization; len(o) == 1 && ValidName(o[0]) && ValidName(c.Subject.CommonName) {
		return Identity{o[0], c.Subject.CommonName}, nil
	}
	return Identity{}, fmt.Errorf("%w: the certificate names no tenant: it needs a URI outrider://tenant/NAME/edge/NAME, or one organisation as the tenant",
		ErrIdentity)
}

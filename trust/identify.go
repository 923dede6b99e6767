package trust

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Authenticator says who calls: by the certificate of the connection or the token of the call. Without
// either of them it believes what the caller says.
type Authenticator struct {
	TLS    *Server                                   // nil: no certificates
	Tokens func(token string) (name string, ok bool) // TENANT or TENANT/EDGE of a token; nil: no tokens
}

// Proof is who calls, proven.
type Proof struct {
	Identity
	Valid func() error // says why it is not so any more; nil: it always is
}

// Authenticate returns who calls. claimed is the tenant that the caller says, empty when it says none: it
// must be the one that is proven. Errors are statuses that wrap nothing.
func (a *Authenticator) Authenticate(ctx context.Context, claimed string) (Proof, error) {
	p, err := a.prove(ctx)
	if err == nil && claimed != "" && claimed != p.Tenant {
		return p, status.Error(codes.PermissionDenied, fmt.Sprintf("%s: the edge says tenant %.64q, its certificate or token is of %q: correct edge.tenant or leave it out", ErrTenant, claimed, p.Tenant))
	}
	if errors.Is(err, ErrExpired) || errors.Is(err, ErrRevoked) { // the connection will be closed: the next one may show a new certificate
		return p, status.Error(codes.Unavailable, err.Error())
	}
	if err != nil {
		return p, status.Error(codes.Unauthenticated, err.Error())
	}
	return p, nil
}

func (a *Authenticator) prove(ctx context.Context) (p Proof, err error) {
	c, token := CertificateOf(ctx), TokenOf(ctx)
	if c != nil && a.TLS != nil {
		if err := a.TLS.Valid(c); err != nil {
			return p, err
		}
		p.Identity, err = IdentityOf(c)
		return p, err // Watch closes its connection when it is not valid any more
	}
	switch {
	case a.Tokens == nil:
		return p, fmt.Errorf("%w: this cloud asks for a certificate: make one with `outrider certs edge TENANT/NAME`, and set edge.tls", ErrIdentity)
	case token == "":
		return p, fmt.Errorf("%w: this cloud asks for a token: set edge.token_file, or OUTRIDER_EDGE_TOKEN", ErrIdentity)
	}
	name, ok := a.Tokens(token)
	if !ok {
		return p, fmt.Errorf("%w: the token is not one of this cloud's (cloud.tokens)", ErrIdentity)
	}
	if p.Identity, err = ParseIdentity(name); err != nil {
		return p, err
	}
	p.Valid = func() error {
		if now, ok := a.Tokens(token); !ok || now != name {
			return fmt.Errorf("%w: the token was taken back", ErrIdentity)
		}
		return nil
	}
	return p, nil
}

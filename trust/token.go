package trust

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

const bearer = "Bearer "

// TokenOf is the token that an RPC came with; empty: none.
func TokenOf(ctx context.Context) string {
	v := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(v) != 1 || len(v[0]) < len(bearer) || !strings.EqualFold(v[0][:len(bearer)], bearer) {
		return ""
	}
	return v[0][len(bearer):]
}

// Token sends a token with each RPC.
type Token struct {
	text  string
	file  *watched[string]
	plain bool
}

var _ credentials.PerRPCCredentials = (*Token)(nil)

// FixedToken sends always the same. plain allows connections without TLS.
func FixedToken(text string, plain bool) *Token {
	return &Token{text: strings.TrimSpace(text), plain: plain}
}

// FileToken sends what a file holds, also after it has changed.
func FileToken(path string, plain bool) (*Token, error) {
	w := &watched[string]{paths: []string{path}, told: func(string, error) {}, read: func() (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("%w: the token: %w", ErrIdentity, err)
		}
		s := strings.TrimSpace(string(b))
		if s == "" || strings.ContainsAny(s, " \t\r\n") {
			return "", fmt.Errorf("%w: %s does not hold one token, alone on one line", ErrIdentity, path)
		}
		return s, nil
	}}
	return &Token{file: w, plain: plain}, w.open()
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t *Token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	s := t.text
	if t.file != nil {
		s = t.file.get()
	}
	return map[string]string{"authorization": bearer + s}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (t *Token) RequireTransportSecurity() bool { return !t.plain }

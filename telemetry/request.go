package telemetry

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
)

// RequestHeader names a request in HTTP headers and gRPC metadata.
const RequestHeader = "x-request-id"

const maxRequestID = 128

// ValidRequestID says whether a peer's request id can be taken over: it goes into logs and traces.
func ValidRequestID(id string) bool {
	return id != "" && len(id) <= maxRequestID && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

type requestKey struct{}

// WithRequestID names the request that ctx belongs to.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// RequestID is the name of ctx's request: as WithRequestID gave it, else as the gRPC caller did, else "".
func RequestID(ctx context.Context) string {
	if id, ok := ctx.Value(requestKey{}).(string); ok {
		return id
	}
	for _, id := range metadata.ValueFromIncomingContext(ctx, RequestHeader) {
		if ValidRequestID(id) {
			return id
		}
	}
	return ""
}

// SendRequestID makes gRPC calls with ctx carry a request's name.
func SendRequestID(ctx context.Context, id string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, RequestHeader, id)
}

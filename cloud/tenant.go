package cloud

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// TenantHeader is the gRPC metadata in which an edge says whose it is.
const TenantHeader = "outrider-tenant"

// maxTenantName bounds what is believed of a name.
const maxTenantName = 64

// Peer is who opened a stream.
type Peer struct {
	Tenant string       // whose sessions are; prefixes and session ids count within one tenant
	Edge   string       // one of the tenant's devices, for the audit log
	Valid  func() error // says why it is no longer to be served; nil: it always is
}

// HeaderTenant takes an edge's word for whose a stream is: for networks whose edges are trusted. It fits
// Config.Identify.
func HeaderTenant(ctx context.Context) (Peer, error) { return Peer{Tenant: ClaimedTenant(ctx)}, nil }

// ClaimedTenant is what an edge says of itself; empty: nothing.
func ClaimedTenant(ctx context.Context) string {
	name := ""
	if v := metadata.ValueFromIncomingContext(ctx, TenantHeader); len(v) > 0 {
		name = v[0]
	}
	return name[:min(len(name), maxTenantName)]
}

type peerKey struct{}

func peerOf(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}

// identified puts who calls into ctx; an error is the status that refuses the call.
func (s *Server) identified(ctx context.Context, method string) (context.Context, error) {
	if s.c.Identify == nil || strings.HasPrefix(method, "/grpc.health.v1.") {
		return ctx, nil
	}
	p, err := s.c.Identify(ctx)
	if err == nil {
		return context.WithValue(ctx, peerKey{}, p), nil
	}
	if _, ok := status.FromError(err); !ok {
		err = status.Error(codes.Unauthenticated, err.Error())
	}
	s.audit(&Event{Event: "denied", Peer: p, Remote: remote(ctx), Reason: status.Convert(err).Message()})
	return ctx, err
}

func remote(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// identify returns the gRPC options that let nobody call who is not known.
func (s *Server) identify() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, r any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			ctx, err := s.identified(ctx, info.FullMethod)
			if err != nil {
				return nil, err
			}
			return h(ctx, r)
		}),
		grpc.ChainStreamInterceptor(func(srv any, st grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			ctx, err := s.identified(st.Context(), info.FullMethod)
			if err != nil {
				return err
			}
			return h(srv, identifiedStream{st, ctx})
		}),
	}
}

type identifiedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s identifiedStream) Context() context.Context { return s.ctx }

// defaultRecheck is how often peers of open streams are looked at again.
const defaultRecheck = 5 * time.Second

// recheck ends the streams of peers that are no longer to be served, until ctx is done.
func (s *Server) recheck(ctx context.Context) {
	tick := time.NewTicker(s.c.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.each((*loop).expel)
		}
	}
}

// expel ends the streams whose peers are not valid any more.
func (l *loop) expel() {
	l.mu.Lock()
	var all []*session
	for _, s := range l.sessions {
		if s.connected && s.peer.Valid != nil {
			all = append(all, s)
		}
	}
	l.mu.Unlock()
	for _, s := range all {
		err := s.peer.Valid() // which may look at files
		if err == nil {
			continue
		}
		l.mu.Lock()
		s.end(retryLater(codes.Unavailable, 100*time.Millisecond, "the session was ended: %s", err)) // it may come back with another token
		l.mu.Unlock()
	}
}

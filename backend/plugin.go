package backend

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/telemetry"
)

// What a plugin in any language needs to know beside backend.proto. The cookie is no secret: it lets
// a plugin that somebody runs by hand say so.
const (
	// ProtocolVersion is raised when backend.proto changes in a way that old plugins cannot serve.
	ProtocolVersion = 1
	CookieKey       = "OUTRIDER_PLUGIN"
	CookieValue     = "8f0a1b64-outrider-backend"
	// PluginName is the go-plugin name of the one service that a plugin has.
	PluginName = "backend"
)

// maxMessage bounds one message; a prompt of a million tokens takes about 3 MiB.
const maxMessage = 64 << 20

// window is a fixed flow control window: one batch fits, and the bandwidth probes of gRPC's
// adaptive window, which cost round trips, are off.
const window = 4 << 20

func handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue}
}

// Plugin is the go-plugin side of BackendService. A host leaves Backend nil and gets a *Client.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Backend *Server
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	outriderv1.RegisterBackendServiceServer(s, p.Backend)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(outriderv1.NewBackendServiceClient(conn)), nil
}

func dialOptions() []grpc.DialOption {
	return append(telemetry.Propagate(), grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window))
}

// grpcServer returns the server's constructor for go-plugin. crashed is called once after an engine
// has panicked: its state can no longer be trusted.
func grpcServer(log *slog.Logger, tracing *telemetry.Tracing, crashed func()) func([]grpc.ServerOption) *grpc.Server {
	caught := func(method string, r any) error {
		log.Error("the engine panicked", "call", method, "panic", r, "stack", string(debug.Stack()))
		crashed()
		return status.Errorf(codes.Unavailable, "the engine panicked: %v", r)
	}
	return func(opts []grpc.ServerOption) *grpc.Server {
		return grpc.NewServer(append(append(opts, tracing.ServerOptions()...),
			grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
			grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window),
			grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
				defer func() {
					if r := recover(); r != nil {
						resp, err = nil, caught(info.FullMethod, r)
					}
				}()
				return next(ctx, req)
			}),
			grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
				defer func() {
					if r := recover(); r != nil {
						err = caught(info.FullMethod, r)
					}
				}()
				return next(srv, s)
			}),
		)...)
	}
}

package cloud

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// ServeConfig says where and how Serve serves.
type ServeConfig struct {
	Listener     net.Listener        // for edges; closed by Serve
	Admin        net.Listener        // for operators (AdminHandler), nil: none; closed by Serve
	Gatherer     prometheus.Gatherer // for /metrics, nil: none
	DrainTimeout time.Duration       // for sessions to finish after ctx is done; 0: none
	Options      []grpc.ServerOption // besides Server.Options: transport credentials
}

// Times of a shutdown and of keeping the health service in step.
const (
	readyEvery   = 250 * time.Millisecond
	farewellTime = 2 * time.Second // for the last statuses to reach the edges
)

// Serve serves s until ctx is done, then drains: new sessions are refused, present ones may finish
// until DrainTimeout and are then told to resume elsewhere. It returns nil after an orderly
// shutdown. It does not close s.
func Serve(ctx context.Context, s *Server, c ServeConfig) error {
	gs := grpc.NewServer(append(s.Options(), c.Options...)...)
	outriderv1.RegisterDecodeServiceServer(gs, s)
	h := health.NewServer()
	report(h, s) // before a shutdown can come: a status never set stays unknown
	healthv1.RegisterHealthServer(gs, h)
	reflection.Register(gs)

	g, failed := errgroup.WithContext(context.Background()) // done when a listener fails
	over, end := context.WithCancel(failed)
	defer end()
	g.Go(func() error {
		return gs.Serve(netutil.LimitListener(c.Listener, s.c.MaxConnections))
	})
	if c.Admin != nil {
		serveAdmin(g, over, c.Admin, AdminHandler(c.Gatherer, s.Ready))
	}
	g.Go(func() error { followReadiness(over, h, s); return nil })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			drain(failed, s, h, c.DrainTimeout)
		case <-failed.Done():
		}
		stop(gs)
		end()
		return nil
	})
	return g.Wait()
}

func drain(failed context.Context, s *Server, h *health.Server, timeout time.Duration) {
	h.Shutdown()
	ctx, cancel := context.WithTimeout(failed, timeout)
	defer cancel()
	s.Drain(ctx)
}

// stop ends the gRPC server: gracefully, but not for ever.
func stop(gs *grpc.Server) {
	t := time.AfterFunc(farewellTime, gs.Stop)
	defer t.Stop()
	gs.GracefulStop()
}

func serveAdmin(g *errgroup.Group, over context.Context, l net.Listener, handler http.Handler) {
	hs := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	g.Go(func() error {
		if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-over.Done()
		return hs.Close()
	})
}

// followReadiness keeps the health service in step with Ready; after Shutdown the service stays at
// NOT_SERVING.
func followReadiness(ctx context.Context, h *health.Server, s *Server) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			report(h, s)
		}
	}
}

func report(h *health.Server, s *Server) {
	status := healthv1.HealthCheckResponse_SERVING
	if s.Ready() != nil {
		status = healthv1.HealthCheckResponse_NOT_SERVING
	}
	h.SetServingStatus("", status)
	h.SetServingStatus(outriderv1.DecodeService_ServiceDesc.ServiceName, status)
}

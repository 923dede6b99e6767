package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// Variables of OpenTelemetry that say where traces go.
const (
	endpointVariable       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	disabledVariable       = "OTEL_SDK_DISABLED"
)

// sampleVariable tells a plugin the host's TraceConfig.Sample.
const sampleVariable = "OUTRIDER_PLUGIN_TRACE_SAMPLE"

// TraceConfig says whether and where traces go.
type TraceConfig struct {
	OTLP    string  // host:port or URL of a collector's gRPC port; empty: OTEL_EXPORTER_OTLP_ENDPOINT, if that is set
	Sample  float64 // share of traces that are kept, 0 to 1
	Service string  // service.name
	Follow  bool    // begins no trace of its own: a plugin's spans hang to its host's
	Logger  *slog.Logger
}

// Tracing makes spans. A nil Tracing makes none and costs next to nothing.
type Tracing struct {
	c        TraceConfig
	endpoint string
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// ErrEndpoint says that the collector's address is not one.
var ErrEndpoint = errors.New("not the address of an OTLP collector")

// StartTracing connects to a collector in the background. It returns nil when none is named. Close it.
func StartTracing(ctx context.Context, c TraceConfig) (*Tracing, error) {
	endpoint := c.OTLP
	for _, name := range []string{tracesEndpointVariable, endpointVariable} {
		if endpoint == "" {
			endpoint = os.Getenv(name)
		}
	}
	if endpoint == "" || strings.EqualFold(os.Getenv(disabledVariable), "true") {
		return nil, nil
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is %w: use host:port, or http:// or https:// before it", endpoint, ErrEndpoint)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("%q is %w: %w", endpoint, ErrEndpoint, err)
	}
	version, _ := Version()
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", c.Service),
		attribute.String("service.version", version)), resource.WithFromEnv(), resource.WithHost(), resource.WithProcessPID())
	if err != nil && about == nil {
		return nil, err
	}
	otel.SetErrorHandler(&complaints{log: c.Logger}) // the exporter knows no other way to tell
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second)),
		sdktrace.WithResource(about), sdktrace.WithSampler(c.sampler()))
	return &Tracing{c: c, endpoint: endpoint, provider: provider, tracer: provider.Tracer("outrider")}, nil
}

// sampler keeps a share of the traces, whoever began them: no peer makes this process record more.
func (c *TraceConfig) sampler() sdktrace.Sampler {
	share := sdktrace.TraceIDRatioBased(c.Sample)
	root := share
	if c.Follow {
		root = sdktrace.NeverSample()
	}
	return sdktrace.ParentBased(root, sdktrace.WithRemoteParentSampled(share))
}

// complaints logs an exporter's errors, but not each of them.
type complaints struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log != nil && time.Since(c.last) > time.Minute {
		c.last = time.Now()
		c.log.Warn("traces cannot be delivered: check telemetry.otlp", "error", err)
	}
}

// closeTimeout bounds the delivery of the last spans.
const closeTimeout = 2 * time.Second

// Close delivers what there is.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && t.c.Logger != nil {
		t.c.Logger.Debug("the last traces could not be delivered", "error", err)
	}
}

// Env are the variables that a plugin needs to trace as this process does.
func (t *Tracing) Env() []string {
	if t == nil {
		return nil
	}
	env := []string{}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "OTEL_") && !strings.HasPrefix(v, endpointVariable) && !strings.HasPrefix(v, tracesEndpointVariable) {
			env = append(env, v)
		}
	}
	return append(env, endpointVariable+"="+t.endpoint, fmt.Sprintf("%s=%g", sampleVariable, t.c.Sample))
}

// StartPluginTracing is StartTracing for a plugin, which its host has given the variables of Env.
func StartPluginTracing(ctx context.Context, log *slog.Logger) (*Tracing, error) {
	c := TraceConfig{Service: "outrider-plugin", Follow: true, Logger: log}
	if _, err := fmt.Sscan(os.Getenv(sampleVariable), &c.Sample); err != nil {
		c.Sample = 1
	}
	return StartTracing(ctx, c)
}

func (t *Tracing) options() []otelgrpc.Option {
	return []otelgrpc.Option{otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { // what goes on all the time says nothing
			return !strings.HasPrefix(i.FullMethodName, "/grpc.") && !strings.HasSuffix(i.FullMethodName, "/ListModels") &&
				!strings.HasPrefix(i.FullMethodName, "/plugin.")
		})}
}

// ServerOptions make a gRPC server continue the traces of its callers.
func (t *Tracing) ServerOptions() []grpc.ServerOption {
	if t == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(t.options()...))}
}

// DialOptions make a gRPC client hand its traces on.
func (t *Tracing) DialOptions() []grpc.DialOption {
	if t == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(t.options()...))}
}

// Handler makes an HTTP handler continue the traces of its callers; requests for /v1 are traced.
func (t *Tracing) Handler(h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return otelhttp.NewHandler(h, "http", otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithFilter(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + endpoint(r.URL.Path) }))
}

// endpoint is a path without what clients put into it.
func endpoint(path string) string {
	for _, known := range []string{"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/models"} {
		if strings.HasPrefix(path, known) {
			return known
		}
	}
	return "/v1"
}

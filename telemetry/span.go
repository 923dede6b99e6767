package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Span is a span, or nothing: the zero Span takes all calls and does nothing.
type Span struct{ s trace.Span }

// Start begins a span below ctx's, which is kept only when that trace is.
func (t *Tracing) Start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithAttributes(attrs...))
	return ctx, keep(s)
}

func keep(s trace.Span) Span {
	if !s.IsRecording() {
		return Span{}
	}
	return Span{s}
}

// Of returns the span that ctx is in, nothing when its trace is not kept.
func Of(ctx context.Context) Span { return keep(trace.SpanFromContext(ctx)) }

// On says whether this is a span.
func (s Span) On() bool { return s.s != nil }

// Set adds attributes.
func (s Span) Set(attrs ...attribute.KeyValue) {
	if s.s != nil {
		s.s.SetAttributes(attrs...)
	}
}

// Event notes that something happened.
func (s Span) Event(name string) {
	if s.s != nil {
		s.s.AddEvent(name)
	}
}

// End ends the span, with the error that it ended with, nil for none.
func (s Span) End(err error) {
	if s.s == nil {
		return
	}
	if err != nil {
		s.s.SetStatus(codes.Error, err.Error())
	}
	s.s.End()
}

// Within returns ctx moved into the span.
func (s Span) Within(ctx context.Context) context.Context {
	if s.s == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.s)
}

// Past adds a span below s that has ended already.
func (t *Tracing) Past(s Span, name string, begin, end time.Time, attrs ...attribute.KeyValue) {
	if t == nil || s.s == nil {
		return
	}
	_, p := t.tracer.Start(s.Within(context.Background()), name, trace.WithTimestamp(begin), trace.WithAttributes(attrs...))
	p.End(trace.WithTimestamp(end))
}

// Carry returns ctx, of another life, in from's span.
func Carry(ctx, from context.Context) context.Context {
	if s := trace.SpanFromContext(from); s.SpanContext().IsSampled() {
		return trace.ContextWithSpan(ctx, s)
	}
	return ctx
}

// Propagate are dial options that tell the other side of ctx's span without making one for the call.
func Propagate() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
			next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return next(inject(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
			next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return next(inject(ctx), desc, cc, method, opts...)
		}),
	}
}

func inject(ctx context.Context) context.Context {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for k, v := range carrier {
		ctx = metadata.AppendToOutgoingContext(ctx, k, v)
	}
	return ctx
}

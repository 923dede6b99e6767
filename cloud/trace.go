package cloud

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/outrider-llm/outrider/telemetry"
)

// stepTrace is a step in the traces of the sessions that are traced.
type stepTrace struct {
	l      *loop
	shares []share
	begin  time.Time
	first  telemetry.Span // covers the step; the model's own spans are below it
}

// trace begins a step. The model is called within the first traced session's span: one pass can be
// below one span only, so the other sessions' traces have the step without what the model says of it.
func (l *loop) trace(ctx context.Context, shares []share) (context.Context, stepTrace) {
	t := stepTrace{l: l}
	if l.c.Tracing == nil {
		return ctx, t
	}
	for i, sh := range shares {
		if sh.s.span.On() {
			t.shares, t.begin = shares[i:], time.Now()
			ctx, t.first = l.c.Tracing.Start(sh.s.span.Within(ctx), "forward")
			break
		}
	}
	return ctx, t
}

// end closes the step's spans.
func (t *stepTrace) end(batch int, err error) {
	if t.shares == nil {
		return
	}
	end := time.Now()
	for i, sh := range t.shares {
		if !sh.s.span.On() {
			continue
		}
		about := []attribute.KeyValue{attribute.Int("outrider.sessions", batch), attribute.Int("outrider.rows", len(sh.seg.Tokens)),
			attribute.Int("outrider.position", sh.seg.Start), attribute.Bool("outrider.prompt", sh.seg.Prefill)}
		t.l.c.Tracing.Past(sh.s.span, "queue", t.begin.Add(-sh.queue), t.begin)
		if i == 0 {
			t.first.Set(about...)
			t.first.End(err)
			continue
		}
		t.l.c.Tracing.Past(sh.s.span, "forward", t.begin, end, about...)
	}
}

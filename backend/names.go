package backend

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"

	"github.com/outrider-llm/outrider/telemetry"
)

// names knows whose request a sequence belongs to, for logs.
type names struct {
	mu sync.Mutex
	of map[Sequence]string
}

// maxNames bounds what is remembered; a host that releases sequences never comes near.
const maxNames = 1 << 14

func (n *names) set(s Sequence, request string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.of) >= maxNames {
		clear(n.of)
	}
	n.of[s] = request
}

func (n *names) get(s Sequence) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[s]
}

func (n *names) drop(sequences []Sequence) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range sequences {
		delete(n.of, s)
	}
}

// begins notes what a call runs: in the log sequences that begin, in the trace its size.
func (s *Server) begins(ctx context.Context, batch []Segment) {
	rows := 0
	for i := range batch {
		g := &batch[i]
		rows += len(g.Tokens)
		if g.Start == 0 && g.Setup != nil && g.Setup.Request != "" {
			s.names.set(g.Sequence, g.Setup.Request)
			s.log.Debug("a sequence begins", "request", g.Setup.Request, "sequence", g.Sequence, "prompt", g.Setup.PromptLength)
		}
	}
	if span := telemetry.Of(ctx); span.On() {
		span.Set(attribute.Int("outrider.sessions", len(batch)), attribute.Int("outrider.rows", rows),
			attribute.String("outrider.engine", s.info.Engine), attribute.String("outrider.request", s.names.get(batch[0].Sequence)))
	}
}

// failed logs a segment's failure when it is the engine's fault.
func (s *Server) failed(g *Segment, err error) {
	if err == nil || errors.Is(err, ErrSequenceLost) || errors.Is(err, ErrNoMemory) || errors.Is(err, ErrContextFull) {
		return
	}
	s.log.Error("the engine failed on a segment", "request", s.names.get(g.Sequence), "sequence", g.Sequence, "start", g.Start,
		"rows", len(g.Tokens), "error", err)
}

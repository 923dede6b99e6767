package edge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/outrider-llm/outrider/telemetry"
)

// newRequestID names a request that came without a name.
func newRequestID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return "req_" + hex.EncodeToString(b[:])
}

// logEnd tells of a generation that has ended, without what it was about.
func (e *Edge) logEnd(id string, span telemetry.Span, s Summary, err error) {
	level := slog.LevelInfo
	if err != nil && !errors.Is(err, context.Canceled) {
		level = slog.LevelWarn
	}
	e.c.Logger.Log(context.Background(), level, "a generation ended", "request", id, "target", s.Target, "finish", s.Finish,
		"prompt_tokens", s.PromptTokens, "tokens", s.Tokens, "first_token", s.FirstToken, "took", s.Total, "judged", s.Usage.Judged,
		"accepted", s.Usage.Accepted, "where", s.Routing.Where, "escalated_at", s.Routing.EscalatedAt, "resumes", s.Resumes, "error", err)
	span.Set(attribute.String("outrider.request", id), attribute.String("outrider.target", s.Target),
		attribute.String("outrider.finish", s.Finish.String()), attribute.Int("outrider.prompt_tokens", s.PromptTokens),
		attribute.Int("outrider.tokens", s.Tokens), attribute.Int64("outrider.first_token_us", s.FirstToken.Microseconds()),
		attribute.Int("outrider.judged", s.Usage.Judged), attribute.Int("outrider.accepted", s.Usage.Accepted),
		attribute.Int("outrider.resumes", s.Resumes))
	span.End(err)
}

// logPrompt logs what is asked, and what is answered as it is given out.
func (e *Edge) logPrompt(id string, r *Request, emit func(Event) error) func(Event) error {
	e.c.Logger.Info("a generation begins", "request", id, "prompt", r.Prompt, "messages", r.Messages)
	return func(ev Event) error {
		var text strings.Builder
		for _, t := range ev.Tokens {
			text.WriteString(t.Text)
		}
		text.WriteString(ev.Tail)
		if text.Len() > 0 {
			e.c.Logger.Info("text was given out", "request", id, "text", text.String())
		}
		return emit(ev)
	}
}

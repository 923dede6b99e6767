package openai

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// catalogue remembers what the cloud serves, so that clients find the models while the cloud is away.
type catalogue struct {
	e    Engine
	turn sync.Mutex // one asks at a time

	mu      sync.Mutex
	at      time.Time
	last    edge.Status
	targets []*outriderv1.TargetInfo // last told
}

// catalogueTTL is how long an answer counts as new.
const catalogueTTL = 5 * time.Second

// get asks the edge, at most every few seconds unless the answer must be fresh.
func (c *catalogue) get(ctx context.Context, fresh bool) (edge.Status, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	last, age := c.last, time.Since(c.at)
	c.mu.Unlock()
	if !fresh && age < catalogueTTL {
		return last, nil
	}
	st, err := c.e.Status(ctx)
	if err != nil {
		return st, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() == nil {
		c.last, c.at = st, time.Now()
		if len(st.Targets) > 0 {
			c.targets = st.Targets
		}
	}
	return st, nil
}

// known are the targets as last told.
func (c *catalogue) known(ctx context.Context) []*outriderv1.TargetInfo {
	_, _ = c.get(ctx, false) // what was told before counts then
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets
}

// name is how the answer to a request calls its model.
func (c *catalogue) name(ctx context.Context, asked string) string {
	if asked != "" {
		return asked
	}
	c.mu.Lock()
	told := c.last.Model != "" || len(c.targets) > 0
	c.mu.Unlock()
	if !told {
		c.known(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.last.Model != "":
		return c.last.Model
	case len(c.targets) > 0:
		return c.targets[0].GetName()
	}
	return "default"
}

// model is an entry of /v1/models.
type model struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	MaxModelLen int    `json:"max_model_len,omitempty"` // as vLLM tells the context length
}

func (s *server) modelOf(t *outriderv1.TargetInfo) model {
	return model{ID: t.GetName(), Object: "model", Created: s.begun.Unix(), OwnedBy: "outrider", MaxModelLen: int(t.GetContextLength())}
}

func (s *server) listModels(w http.ResponseWriter, r *http.Request) {
	targets := s.models.known(r.Context())
	if len(targets) == 0 && s.models.draft() == "" {
		s.noCloud(w, r)
		return
	}
	data := make([]model, len(targets))
	for i, t := range targets {
		data[i] = s.modelOf(t)
	}
	data = append(data, s.modeModels(targets)...)
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
}

func (s *server) getModel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	targets := s.models.known(r.Context())
	if len(targets) == 0 && s.models.draft() == "" {
		s.noCloud(w, r)
		return
	}
	for _, t := range targets {
		if t.GetName() == id {
			writeJSON(w, http.StatusOK, s.modelOf(t))
			return
		}
	}
	for _, m := range s.modeModels(targets) {
		if m.ID == id {
			writeJSON(w, http.StatusOK, m)
			return
		}
	}
	newError(http.StatusNotFound, typeInvalid, "model", "model_not_found", "the model %.100q does not exist: GET /v1/models lists them", id).write(w)
}

func (s *server) noCloud(w http.ResponseWriter, r *http.Request) {
	st, _ := s.models.get(r.Context(), false) // its note says what is wrong
	e := newError(http.StatusServiceUnavailable, typeServer, "", "service_unavailable", "no cloud has told yet which models it serves: %s", st.Note)
	e.retry = 2 * time.Second
	e.write(w)
}

// ready says whether a request would be answered now.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	st, err := s.models.get(r.Context(), false)
	if err == nil && (len(st.Targets) > 0 || st.Fallback == edge.FallbackDraft) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
		return
	}
	s.noCloud(w, r)
}

// statusTarget is a target in /outrider/status.
type statusTarget struct {
	Name          string `json:"name"`
	Vocabulary    string `json:"vocabulary"`
	ContextLength int    `json:"context_length"`
	Numerics      string `json:"numerics"`
	Pace          string `json:"pace,omitempty"`
}

// status is edge.Status as JSON.
func (s *server) status(w http.ResponseWriter, r *http.Request) {
	st, err := s.models.get(r.Context(), true)
	if err != nil {
		errorOf(err, "").write(w)
		return
	}
	targets := []statusTarget{}
	for _, t := range st.Targets {
		targets = append(targets, statusTarget{Name: t.GetName(), Vocabulary: t.GetVocabulary(), ContextLength: int(t.GetContextLength()),
			Numerics: t.GetNumerics(), Pace: t.GetPace()})
	}
	mode := "cooperative"
	switch {
	case len(targets) == 0 && st.Fallback == edge.FallbackDraft:
		mode = "edge" // the draft answers alone
	case len(targets) == 0:
		mode = "none"
	case st.Draft == "":
		mode = "cloud" // the target works alone
	}
	writeJSON(w, http.StatusOK, map[string]any{"targets": targets, "model": s.models.name(r.Context(), ""), "draft": st.Draft,
		"draft_numerics": st.DraftNumerics, "cloud": st.Cloud, "rtt_ms": ms(st.RTT), "mode": mode, "note": st.Note,
		"fallback": st.Fallback.String(), "breaker": st.Breaker.String(), "cloud_pressure": st.Pressure, "perception": s.senses.status(), "supports": s.supports(st.Draft != "")})
}

// supports says which values of the extension's fields mean something here.
func (s *server) supports(draft bool) map[string]any {
	if !draft {
		return map[string]any{"modes": s.modes(draft), "acceptance": rules(), "objectives": speculative.Objectives(), "max_depth": 0, "fallback": []string{"wait", "fail"}}
	}
	return map[string]any{"modes": s.modes(draft), "acceptance": rules(), "objectives": speculative.Objectives(), "max_depth": maxDepth,
		"fallback": []string{"wait", "fail", "draft"}}
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// draft is the draft's name as last told.
func (c *catalogue) draft() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Draft
}

// embeddings says that there are none: the draft and the target give tokens only.
func (s *server) embeddings(w http.ResponseWriter, _ *http.Request, _ *object) error {
	e := newError(http.StatusNotImplemented, typeInvalid, "", "unsupported_endpoint",
		"this edge's models give no embeddings: ask a server with an embedding model")
	e.final = true
	e.write(w)
	return e
}

package openai

import (
	"context"
	"net/http"

	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/tokenizer"
)

// ModeHeader chooses a request's mode, where its body does not.
const ModeHeader = "X-Outrider-Mode"

const modeKey contextKey = 100

// withMode hands the header's mode down.
func withMode(r *http.Request) *http.Request {
	if word := r.Header.Get(ModeHeader); word != "" {
		return r.WithContext(context.WithValue(r.Context(), modeKey, word))
	}
	return r
}

// mode reads what becomes of personal data, and where the answer may be written: the body's field counts more than the header, the header
// more than the model's name.
func (j *job) mode(ctx context.Context, o *object) {
	x := o.sub("outrider")
	word, field := x.text("mode"), x
	name := "mode"
	if word == "" {
		word, _ = ctx.Value(modeKey).(string)
		field, name = o, ModeHeader
	}
	m, err := edge.ParseMode(word)
	if err != nil {
		field.fail(name, "invalid_value", "%s", requestError(err).Message)
		return
	}
	if j.r.Privacy, err = edge.ParsePrivacy(x.text("privacy")); err != nil {
		x.fail("privacy", "invalid_value", "%s", requestError(err).Message)
		return
	}
	j.r.Mode = m
	if of, ok := edge.ModeOfModel(j.model); ok && m == edge.ModeDefault {
		j.r.Mode = of
	}
}

// tokenizer is the one by which the answer's model writes. Nobody but the device is asked for its own.
func (s *server) tokenizer(ctx context.Context, j *job) (*tokenizer.Tokenizer, error) {
	if tok, there := s.onDevice(j.r.Mode, j.model); there {
		return tok, nil
	}
	name := j.model
	if _, ok := edge.ModeOfModel(name); ok {
		name = ""
	}
	return s.e.Tokenizer(ctx, name)
}

// onDevice says whether requests of a mode begin on the device without asking anybody.
func (s *server) onDevice(m edge.Mode, model string) (*tokenizer.Tokenizer, bool) {
	if d, ok := s.e.(interface {
		DeviceTokenizer(m edge.Mode, model string) (*tokenizer.Tokenizer, bool)
	}); ok {
		return d.DeviceTokenizer(m, model)
	}
	return nil, false
}

// modeModels are the names that choose a mode, as models. With no cloud heard of, the device may answer.
func (s *server) modeModels(targets []*outriderv1.TargetInfo) []model {
	var out []model
	for _, name := range edge.ModelNames() {
		m := s.modelOf(nil)
		if len(targets) > 0 {
			m = s.modelOf(targets[0])
		}
		m.ID = name
		out = append(out, m)
	}
	return out
}

// modes are those that an edge with or without a draft has.
func (s *server) modes(draft bool) []string {
	if !draft {
		return []string{edge.ModeCooperative.String(), edge.ModePreferInCloud.String(), edge.ModeOnlyInCloud.String()}
	}
	return edge.Modes()
}

// routing is edge.Routing as JSON.
type routing struct {
	Where       string  `json:"where"`
	Mode        string  `json:"mode"`
	Reason      string  `json:"reason"`
	Rule        string  `json:"rule,omitempty"`
	EscalatedAt *int    `json:"escalated_at"` // null: the cloud did not take over
	Shown       int     `json:"shown,omitempty"`
	Kept        int     `json:"kept,omitempty"`
	Score       float64 `json:"score,omitempty"`
}

func routingOf(r edge.Routing) *routing {
	if r.Where == "" {
		return nil // it did not begin
	}
	out := &routing{Where: r.Where, Mode: r.Mode.String(), Reason: r.Reason, Rule: r.Rule, Shown: r.Shown, Kept: r.Kept, Score: r.Score}
	if r.EscalatedAt > 0 {
		out.EscalatedAt = &r.EscalatedAt
	}
	return out
}

// personal tells what personal data a request held, and what was done about it.
type personal struct {
	Action string         `json:"action"`
	Found  map[string]int `json:"found"`
}

// personalOf is nil when nobody looked.
func personalOf(p edge.Personal) *personal {
	if p.Found == nil {
		return nil
	}
	out := &personal{Action: p.Action.String(), Found: map[string]int{}}
	for k, n := range p.Found {
		out.Found[string(k)] = n
	}
	return out
}

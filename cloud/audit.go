package cloud

import (
	"encoding/hex"
	"time"
)

// Event is one entry of the audit log. It says who used what and how much, never what was asked or told.
type Event struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"` // denied, refused, opened, resumed, ended
	Peer    Peer      `json:"-"`
	Tenant  string    `json:"tenant,omitempty"`
	Edge    string    `json:"edge,omitempty"`
	Remote  string    `json:"remote,omitempty"`
	Target  string    `json:"target,omitempty"`
	Session string    `json:"session,omitempty"` // the first half of its id: it names, but opens nothing
	Stream  uint32    `json:"stream,omitempty"`
	Request string    `json:"request,omitempty"`

	Prompt    int     `json:"prompt_tokens,omitempty"`
	Committed int     `json:"committed_tokens,omitempty"` // on this stream
	Prefilled int     `json:"prefilled_tokens,omitempty"` // of the session so far, those that were run again included
	Seconds   float64 `json:"seconds,omitempty"`
	Reason    string  `json:"reason,omitempty"` // why it was refused, or how it ended
}

// audit hands an event to the log, if there is one.
func (s *Server) audit(e *Event) {
	if s.c.Audit == nil {
		return
	}
	e.Time, e.Tenant, e.Edge = time.Now().UTC(), e.Peer.Tenant, e.Peer.Edge
	s.c.Audit(*e)
}

// event begins an entry about a request.
func (r *request) event(what, remote, target string) *Event {
	return &Event{Event: what, Peer: r.peer, Remote: remote, Target: target, Session: hex.EncodeToString(r.id.id[:sessionBytes/2]), Stream: r.stream,
		Request: r.name, Prompt: r.setup.PromptLength}
}

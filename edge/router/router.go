package router

import "sync/atomic"

// Router holds what is in force: a policy, a model, and the share of answers that the cloud is to have. They
// may be replaced while it is asked. Its methods are safe for concurrent use.
type Router struct{ state atomic.Pointer[state] }

type state struct {
	policy *Policy
	model  *Model
	share  float64
}

// New makes a router; m may be nil: no model was trained.
func New(p *Policy, m *Model) *Router {
	r := &Router{}
	r.Set(p, m, 0)
	return r
}

// Set puts a policy, a model and a wanted share (0: none) in force for requests that begin from now on.
func (r *Router) Set(p *Policy, m *Model, share float64) { r.state.Store(&state{p, m, share}) }

// Policy is the one in force.
func (r *Router) Policy() *Policy { return r.state.Load().policy }

// Score puts the model's score and the threshold of the wanted share into facts, if there is a model.
func (r *Router) Score(f Facts, text string) {
	s := r.state.Load()
	if s.model == nil {
		return
	}
	f["score"] = s.model.Score(f, text)
	if s.share > 0 {
		if t, ok := s.model.Threshold(s.share); ok {
			f["threshold"] = t
		}
	}
}

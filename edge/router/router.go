package router

import "sync/atomic"

// Router holds the policy and the model in force; both may be replaced while it is asked. Its methods are
// safe for concurrent use.
type Router struct {
	policy atomic.Pointer[Policy]
	model  atomic.Pointer[Model]
}

// New makes a router; m may be nil: no model was trained.
func New(p *Policy, m *Model) *Router {
	r := &Router{}
	r.Set(p, m)
	return r
}

// Set puts a policy and a model in force for requests that begin from now on.
func (r *Router) Set(p *Policy, m *Model) {
	r.policy.Store(p)
	r.model.Store(m)
}

// Policy is the one in force.
func (r *Router) Policy() *Policy { return r.policy.Load() }

// Score puts the model's score into facts, if there is a model.
func (r *Router) Score(f Facts) {
	if m := r.model.Load(); m != nil {
		f["score"] = m.Score(f, "")
	}
}

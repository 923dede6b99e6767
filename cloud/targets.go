package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// served is a target with its loop; nil for one that is being loaded or could not be.
type served struct {
	Target
	loop *loop
}

// checkTargets says what is wrong with a list of targets.
func checkTargets(targets []Target) error {
	if len(targets) == 0 {
		return errors.New("the cloud needs at least one target model")
	}
	seen := map[string]bool{}
	for _, t := range targets {
		switch {
		case t.Name == "":
			return errors.New("a target has no name")
		case seen[t.Name]:
			return fmt.Errorf("two targets are named %q: give one another name", t.Name)
		case t.Model == nil && t.Loading == nil && t.Failed == nil:
			return fmt.Errorf("target %q has no model", t.Name)
		case t.Model != nil && t.Tokenizer != nil && t.Tokenizer.Vocabulary != t.Model.Info().Vocabulary:
			return fmt.Errorf("target %q has vocabulary %s, its tokenizer %s: name the model's own GGUF file as its tokenizer",
				t.Name, t.Model.Info().Vocabulary, t.Tokenizer.Vocabulary)
		}
		seen[t.Name] = true
	}
	return nil
}

// SetTargets replaces the list of targets; the first is the default. A target whose Model is the one
// that it had goes on. The sessions of one that is gone, or has another Model now, go on with the old
// Model, also over a broken stream; its Retired is called when none is left.
func (s *Server) SetTargets(targets []Target) error {
	if err := checkTargets(targets); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errors.New("the cloud is closed")
	}
	old := s.targets
	s.targets = make([]served, 0, len(targets))
	for _, t := range targets {
		n := served{Target: t}
		if t.Model != nil {
			if i := slices.IndexFunc(old, func(o served) bool { return o.Name == t.Name && o.Model == t.Model }); i >= 0 {
				n.loop, old[i].loop = old[i].loop, nil
			} else {
				n.loop = s.start(t)
			}
		}
		s.targets = append(s.targets, n)
	}
	for _, o := range old {
		if o.loop != nil {
			s.leaving = append(s.leaving, o.loop)
			s.wg.Go(func() { s.retire(o.loop) })
		}
	}
	return nil
}

// start starts a target's loop. s.mu is held.
func (s *Server) start(t Target) *loop {
	l := newLoop(&s.c, t)
	ctx, cancel := context.WithCancel(s.ctx)
	l.stop, l.stopped = cancel, make(chan struct{})
	l.draining = s.draining
	s.c.Metrics.state.add(l)
	s.wg.Go(func() {
		defer close(l.stopped)
		l.run(ctx)
	})
	if n := maxFrame(t.Model.Info().ContextLength); s.frame > 0 && n > s.frame {
		s.c.Logger.Warn("the target's context is longer than this cloud takes prompts for: restart it", "target", t.Name)
	}
	return l
}

// retireEvery is how often a retired target is looked at.
const retireEvery = 50 * time.Millisecond

// retire waits until a loop's sessions have ended, then ends it.
func (s *Server) retire(l *loop) {
	tick := time.NewTicker(retireEvery)
	defer tick.Stop()
	for !l.closeEmpty() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return // Close ends it
		}
	}
	l.stop()
	<-l.stopped
	s.c.Metrics.state.remove(l)
	s.mu.Lock()
	s.leaving = slices.DeleteFunc(s.leaving, func(o *loop) bool { return o == l })
	s.mu.Unlock()
	if l.target.Retired != nil {
		l.target.Retired()
	}
}

// closeEmpty refuses further sessions once there is none.
func (l *loop) closeEmpty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = l.closed || len(l.sessions) == 0
	return l.closed
}

func (l *loop) has(id sessionID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions[id] != nil
}

// find returns the loop of a target, of the default one when name is empty. A session that is known
// stays with the loop that knows it.
func (s *Server) find(name, tenant string, session []byte) (*loop, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(session) == sessionBytes {
		for _, l := range s.loops() {
			if (name == "" || name == l.target.Name) && l.has(sessionID{tenant, [sessionBytes]byte(session)}) {
				return l, nil
			}
		}
	}
	for _, t := range s.targets {
		switch {
		case name != "" && t.Name != name:
			continue
		case t.loop != nil:
			return t.loop, nil
		case t.Failed != nil:
			return nil, status.Errorf(codes.NotFound, "target %s could not be loaded: %s", t.Name, t.Failed)
		}
		return nil, retryLater(codes.Unavailable, time.Second, "target %s is being loaded (%d %%)", t.Name, t.percent())
	}
	return nil, status.Errorf(codes.NotFound, "no model %.64q here, there is %s", name, s.names())
}

// loops lists all loops, those of retired targets included. s.mu is held.
func (s *Server) loops() []*loop {
	all := slices.Clone(s.leaving)
	for _, t := range s.targets {
		if t.loop != nil {
			all = append(all, t.loop)
		}
	}
	return all
}

func (s *Server) names() string {
	var names []string
	for _, t := range s.targets {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// percent is how far loading is.
func (t Target) percent() int { return int(100 * min(max(t.Loading(), 0), 1)) }

func (t served) restarting() bool {
	r, ok := t.Model.(interface{ Running() bool })
	return ok && !r.Running()
}

// problem says why a target serves nobody now, nil when it does.
func (t served) problem() error {
	switch {
	case t.Failed != nil:
		return fmt.Errorf("target %s could not be loaded: %w", t.Name, t.Failed)
	case t.loop == nil:
		return fmt.Errorf("target %s is being loaded (%d %%)", t.Name, t.percent())
	case t.restarting():
		return fmt.Errorf("target %s is restarting", t.Name)
	}
	return nil
}

// info describes a target and its state.
func (t served) info() *outriderv1.TargetInfo {
	i := &outriderv1.TargetInfo{Name: t.Name}
	switch {
	case t.Failed != nil:
		i.State, i.Problem = outriderv1.TargetState_TARGET_STATE_FAILED, t.Failed.Error()
	case t.loop == nil:
		i.State, i.LoadPercent = outriderv1.TargetState_TARGET_STATE_LOADING, uint32(t.percent())
	default:
		i = t.loop.describe()
		i.State = outriderv1.TargetState_TARGET_STATE_SERVING
		if t.restarting() {
			i.State = outriderv1.TargetState_TARGET_STATE_RESTARTING
		}
	}
	return i
}

// Ready says why no session can be served now, nil when one can.
func (s *Server) Ready() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.draining {
		return errors.New("draining")
	}
	var why []string
	for _, t := range s.targets {
		err := t.problem()
		if err == nil {
			return nil
		}
		why = append(why, err.Error())
	}
	return errors.New(strings.Join(why, "; "))
}

// ListModels implements DecodeService.
func (s *Server) ListModels(context.Context, *outriderv1.ListModelsRequest) (*outriderv1.ListModelsResponse, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := &outriderv1.ListModelsResponse{}
	for _, t := range s.targets {
		r.Models = append(r.Models, t.info())
	}
	return r, nil
}

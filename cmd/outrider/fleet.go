package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/cloud"
)

// fleet runs the targets that the configuration names. One that is new or has changed is loaded, one
// after the other, while what was there before serves on; then it takes over.
type fleet struct {
	srv    *cloud.Server
	log    *slog.Logger
	loaded func(engine string) // told of each target that is there
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	slots []*slot
	last  <-chan struct{} // closed when the load that was ordered last is over; nil: none was
	hosts map[*backend.Host]struct{}
}

// slot is a target's name.
type slot struct {
	name string
	now  *member // that serves; nil: none yet
	next *member // that is being loaded or could not be; nil: none
}

// member is a target of one configuration.
type member struct {
	config ModelConfig
	cancel context.CancelFunc
	done   atomic.Uint32 // percent
	over   chan struct{} // closed when it is loaded or never will be
	target cloud.Target
	err    error
}

func newFleet(srv *cloud.Server, log *slog.Logger, loaded func(engine string)) *fleet {
	f := &fleet{srv: srv, log: log, loaded: loaded, hosts: map[*backend.Host]struct{}{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// close ends all plugins. The server is closed before.
func (f *fleet) close() {
	f.cancel()
	f.wg.Wait()
	var all sync.WaitGroup
	for h := range f.hosts {
		all.Go(func() { _ = h.Close() }) // the host logs what goes wrong
	}
	all.Wait()
}

// announced are the targets as they are listed before any is loaded.
func announced(configs []ModelConfig) (targets []cloud.Target) {
	for _, c := range configs {
		targets = append(targets, cloud.Target{Name: c.label(), Loading: func() float32 { return 0 }})
	}
	return targets
}

// set makes these the targets. What could not be loaded before is tried again.
func (f *fleet) set(configs []ModelConfig) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, kept := map[string]*slot{}, map[string]bool{}
	for _, s := range f.slots {
		old[s.name] = s
	}
	for _, c := range configs {
		name := c.label()
		if kept[name] {
			return usagef("two targets are named %q: give one another name", name)
		}
		kept[name] = true
	}
	slots := make([]*slot, 0, len(configs))
	for _, c := range configs {
		s := old[c.label()]
		if s == nil {
			s = &slot{name: c.label()}
		}
		f.order(s, c)
		slots = append(slots, s)
	}
	for name, s := range old {
		if !kept[name] {
			s.abandon()
			f.log.Info("a target is served no more", "name", name)
		}
	}
	f.slots = slots
	return f.publish()
}

// abandon gives up what is being loaded.
func (s *slot) abandon() {
	if s.next != nil {
		s.next.cancel()
		s.next = nil
	}
}

// order loads what a slot lacks for a configuration. f.mu is held.
func (f *fleet) order(s *slot, c ModelConfig) {
	if n := s.next; n != nil && n.err == nil && reflect.DeepEqual(n.config, c) {
		return // on its way
	}
	s.abandon()
	if s.now != nil && reflect.DeepEqual(s.now.config, c) {
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	m, before := &member{config: c, cancel: cancel, over: make(chan struct{})}, f.last
	s.next, f.last = m, m.over
	f.wg.Go(func() {
		defer close(m.over)
		defer cancel()
		if before != nil {
			<-before
		}
		h, t, err := m.launch(ctx, f.log)
		f.settle(s, m, h, t, err)
	})
}

// launch starts the plugin; its process is the caller's.
func (m *member) launch(ctx context.Context, log *slog.Logger) (*backend.Host, cloud.Target, error) {
	c := m.config
	t := cloud.Target{Name: c.label()}
	if err := ctx.Err(); err != nil {
		return nil, t, err
	}
	step, position, err := c.pace()
	if err != nil {
		return nil, t, err
	}
	tok, err := c.tokenizer()
	if err != nil {
		return nil, t, err
	}
	if t.Tokenizer, err = c.packed(); err != nil {
		return nil, t, err
	}
	h, err := c.launchTelling(ctx, "target "+t.Name, log, func(done float32) { m.done.Store(uint32(100 * done)) })
	if err != nil {
		return nil, t, err
	}
	if t.Model = h; tok != nil {
		t.Bytes = tok.Bytes
	}
	if step > 0 || position > 0 {
		t.Model, t.Pace = backend.Paced(h, step, position), c.Pace
	}
	if p := t.Tokenizer; p != nil && p.Vocabulary != h.Info().Vocabulary {
		_ = h.Close() // the host logs what goes wrong
		return nil, t, fmt.Errorf("target %q has vocabulary %s, its tokenizer %s: name the model's own GGUF file as its tokenizer",
			t.Name, h.Info().Vocabulary, p.Vocabulary)
	}
	return h, t, nil
}

// settle takes the outcome of a load.
func (f *fleet) settle(s *slot, m *member, h *backend.Host, t cloud.Target, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.target, m.err = t, err; h != nil {
		f.hosts[h] = struct{}{}
		m.target.Retired = func() { f.end(h) }
	}
	switch {
	case s.next != m: // the configuration has changed meanwhile
		if h != nil {
			f.wg.Go(func() { f.end(h) })
		}
		return
	case err != nil:
		if f.ctx.Err() == nil {
			f.log.Error("a target could not be loaded", "name", s.name, "old_serves_on", s.now != nil, "error", oneLine(err))
		}
	default:
		s.now, s.next = m, nil
		i := h.Info()
		f.log.Info("target", "name", s.name, "engine", i.Engine, "parameters", i.Parameters, "context", i.ContextLength, "numerics", i.Numerics, "pace", t.Pace)
		f.loaded(i.Engine)
	}
	if err := f.publish(); err != nil && f.ctx.Err() == nil {
		f.log.Error("the list of targets is not taken", "error", err)
	}
}

// end ends a plugin that no session uses.
func (f *fleet) end(h *backend.Host) {
	_ = h.Close() // the host logs what goes wrong
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.hosts, h)
}

// publish tells the server what there is. f.mu is held.
func (f *fleet) publish() error {
	targets := make([]cloud.Target, 0, len(f.slots))
	for _, s := range f.slots {
		t := cloud.Target{Name: s.name}
		switch n := s.next; {
		case s.now != nil:
			t = s.now.target
		case n.err != nil:
			t.Failed = errors.New(strings.TrimPrefix(oneLine(n.err), "target "+s.name+": "))
		default:
			t.Loading = func() float32 { return float32(n.done.Load()) / 100 }
		}
		targets = append(targets, t)
	}
	return f.srv.SetTargets(targets)
}

// settled waits until all that was ordered so far is loaded or could not be. With first it returns the
// first error at once, else none.
func (f *fleet) settled(ctx context.Context, first bool) error {
	f.mu.Lock()
	var all []*member
	for _, s := range f.slots {
		if s.next != nil {
			all = append(all, s.next)
		}
	}
	f.mu.Unlock()
	for _, m := range all {
		select {
		case <-m.over:
		case <-ctx.Done():
			return nil
		}
		if m.err != nil && first && !errors.Is(m.err, context.Canceled) {
			return m.err
		}
	}
	return nil
}

package edge

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// succession is what makes an Edge outlive its configuration: each new one is an Edge of its own, to
// which the first forwards. Generations stay with the Edge that they began in.
type succession struct {
	latest atomic.Pointer[Edge] // nil: the first itself

	mu     sync.Mutex // held by Reload and Close
	closed bool
	living []*Edge        // whose generations have not ended, the first apart
	ends   sync.WaitGroup // of those that were succeeded
}

// errSucceeded: a newer configuration is in force.
var errSucceeded = errors.New("the edge has a newer configuration")

// current is the Edge that takes new generations.
func (e *Edge) current() *Edge {
	if n := e.after.latest.Load(); n != nil {
		return n
	}
	return e
}

// enter counts a generation in and returns the Edge that it belongs to.
func (e *Edge) enter() (*Edge, error) {
	for {
		now := e.current()
		if err := now.begin(); !errors.Is(err, errSucceeded) {
			return now, err
		}
	}
}

// Reload puts a configuration in force for the generations that begin from now on. Those under way go
// on as they began, with their draft; when their stream breaks they resume at the new address of the
// cloud. retired (may be nil) is called once the last of them has ended: nothing uses the draft of the
// configuration before any more. It is not called after an error, which leaves all as it was.
func (e *Edge) Reload(c Config, retired func()) error {
	s := &e.after
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	next, err := newEdge(c, e.seq)
	if err != nil {
		return err
	}
	old := e.current()
	if c.Cloud != old.c.Cloud {
		for _, o := range append(slices.Clone(s.living), e) {
			if err := o.link.redirect(c.Cloud); err != nil {
				_ = next.shutdown()
				return err
			}
		}
	}
	s.living = append(s.living, next)
	s.latest.Store(next)
	s.ends.Go(func() {
		<-old.succeed()
		_ = old.shutdown() // ends streams, nothing to report
		s.forget(old)
		if retired != nil {
			retired()
		}
	})
	return nil
}

func (s *succession) forget(e *Edge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.living = slices.DeleteFunc(s.living, func(o *Edge) bool { return o == e })
}

// Close ends all generations with ErrClosed, frees both models' memory and disconnects.
func (e *Edge) Close() error {
	s := &e.after
	s.mu.Lock()
	s.closed = true
	var all sync.WaitGroup
	for _, o := range append(slices.Clone(s.living), e) {
		all.Go(func() { _ = o.shutdown() })
	}
	all.Wait()
	s.mu.Unlock()
	s.ends.Wait()
	return nil
}

// succeed refuses further generations; what it returns is closed when none is left.
func (e *Edge) succeed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.succeeded = true
	if e.active == 0 {
		close(e.idle)
	}
	return e.idle
}

// begin counts a generation in.
func (e *Edge) begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.succeeded:
		return errSucceeded
	case e.closed:
		return ErrClosed
	}
	e.active++
	e.wg.Add(1)
	return nil
}

// leave counts it out.
func (e *Edge) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.active--; e.succeeded && e.active == 0 {
		close(e.idle)
	}
}

package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// HostConfig says which plugin to run with which model.
type HostConfig struct {
	Name     string            // for logs and errors ("target llama-70b", "draft")
	Command  string            // plugin binary; "" re-executes this program with Args
	Args     []string          // e.g. {"plugin", "reference"}
	Env      []string          // KEY=VALUE; beside the handshake the plugin gets nothing else
	SHA256   string            // hexadecimal digest that the binary must have; "" for any
	Dir      string            // working folder of the plugin; "": the host's
	User     string            // name or number of the user that it runs as, where the host is root; "": the host's
	Model    string            // path of the model file, or the engine's name for one
	Options  map[string]string // engine options
	Logger   *slog.Logger
	Progress func(float32) // of loading, 0 to 1; also when the plugin was restarted

	StartTimeout time.Duration // for the handshake; default 30 s
	MinBackoff   time.Duration // before the first restart; doubles each time; default 100 ms
	MaxBackoff   time.Duration // default 10 s; a plugin that ran this long starts over at MinBackoff
	PingEvery    time.Duration // health check; default 5 s
	PingTimeout  time.Duration // a plugin that does not answer for so long is killed; default 30 s
}

func (c *HostConfig) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.StartTimeout, 30*time.Second)
	set(&c.MinBackoff, 100*time.Millisecond)
	set(&c.MaxBackoff, 10*time.Second)
	set(&c.PingEvery, 5*time.Second)
	set(&c.PingTimeout, 30*time.Second)
	if c.Name == "" {
		c.Name = "model"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("plugin", c.Name)
}

// stopGrace is how long a plugin may take to exit when asked to.
const stopGrace = 2 * time.Second

// Host runs one plugin and is the Model that it serves. When the process dies it starts another,
// waiting longer each time; meanwhile calls fail at once with ErrUnavailable. All KV rows are lost
// then, and Generation rises.
type Host struct {
	c      HostConfig
	cancel context.CancelFunc
	done   chan struct{} // closed when the supervisor has ended

	mu         sync.Mutex
	running    *process // nil while there is none
	info       Info
	generation uint64
	final      error         // why it will never run again
	changed    chan struct{} // closed and replaced on every change
}

// Launch starts the plugin and loads its model. It tries once: its error is one line that says what
// to do, and wraps ErrLoad, ErrUnavailable or the context's error. ctx bounds the launch only.
func Launch(ctx context.Context, c HostConfig) (*Host, error) {
	c.defaults()
	p, err := start(ctx, &c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	run, cancel := context.WithCancel(context.Background())
	h := &Host{c: c, cancel: cancel, done: make(chan struct{}), info: p.model.Info(), changed: make(chan struct{})}
	h.set(p, nil)
	go h.supervise(run, p)
	return h, nil
}

// set publishes a new state: a process, or none, or none for ever.
func (h *Host) set(p *process, final error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = p
	if h.final == nil {
		h.final = final
	}
	if p != nil {
		h.generation++
		h.info = p.model.Info()
		h.c.Logger.Info("the model is loaded", "pid", p.sub.ID(), "model", h.info.Name, "engine", h.info.Engine, "generation", h.generation)
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// supervise owns the process from Launch to Close.
func (h *Host) supervise(ctx context.Context, p *process) {
	defer close(h.done)
	failures := 0
	for {
		began := time.Now()
		h.watch(ctx, p)
		h.set(nil, nil)
		if ctx.Err() != nil {
			p.stop(stopGrace)
			return
		}
		p.stop(0)
		if time.Since(began) >= h.c.MaxBackoff {
			failures = 0
		}
		h.c.Logger.Error("the plugin died and will be restarted", "state", p.state(), "stderr", p.stderr.last())
		var err error
		if p, failures, err = h.restart(ctx, failures); err != nil {
			if ctx.Err() != nil {
				err = errClosed
			} else {
				h.c.Logger.Error("the plugin will not be restarted", "error", err)
			}
			h.set(nil, err)
			return
		}
		h.set(p, nil)
	}
}

// restart tries until the plugin runs, ctx is done, or there is no point.
func (h *Host) restart(ctx context.Context, failures int) (*process, int, error) {
	for {
		d := backoff(h.c.MinBackoff, h.c.MaxBackoff, failures)
		failures++
		if err := sleep(ctx, d); err != nil {
			return nil, failures, err
		}
		p, err := start(ctx, &h.c)
		if err == nil {
			was := h.Info()
			if now := p.model.Info(); was.same(&now) {
				return p, failures, nil
			}
			p.stop(0)
			err = fmt.Errorf("%w: %s is another model than before: restart this program to use it", ErrLoad, h.c.Model)
		}
		if ctx.Err() != nil || errors.Is(err, ErrLoad) {
			return nil, failures, err
		}
		h.c.Logger.Warn("the plugin could not be restarted", "error", err, "next", backoff(h.c.MinBackoff, h.c.MaxBackoff, failures))
	}
}

// backoff is the wait before the n-th restart in a row, from 0.
func backoff(least, most time.Duration, n int) time.Duration {
	for ; n > 0 && least < most; n-- {
		least *= 2
	}
	return min(least, most)
}

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// watch returns when the process has ended, does not answer any more, or ctx is done.
func (h *Host) watch(ctx context.Context, p *process) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.sub.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	for sleep(ctx, h.c.PingEvery) == nil {
		ask, stop := context.WithTimeout(ctx, h.c.PingTimeout)
		err := p.ping(ask)
		stop()
		if err != nil && ctx.Err() == nil {
			h.c.Logger.Error("the plugin does not answer and will be killed", "error", err)
			return
		}
	}
}

// current returns the running process.
func (h *Host) current() (*process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.running != nil:
		return h.running, nil
	case errors.Is(h.final, ErrUnavailable):
		return nil, fmt.Errorf("%s: %w", h.c.Name, h.final)
	case h.final != nil:
		return nil, fmt.Errorf("%s: %w: %w", h.c.Name, ErrUnavailable, h.final)
	}
	return nil, fmt.Errorf("%s: %w", h.c.Name, ErrUnavailable)
}

// after looks at how a call on p ended. When p could not be reached it counts as dead at once, so that
// Wait called next does wait; the supervisor does the rest.
func (h *Host) after(p *process, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, ErrUnavailable) {
		h.mu.Lock()
		if h.running == p {
			h.running = nil
		}
		h.mu.Unlock()
		p.sub.kill()
	}
	return fmt.Errorf("%s: %w", h.c.Name, err)
}

// Info implements Model.
func (h *Host) Info() Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.info
}

// Forward implements Model.
func (h *Host) Forward(ctx context.Context, batch []Segment) ([]Result, error) {
	p, err := h.current()
	if err != nil {
		return nil, err
	}
	r, err := p.model.Forward(ctx, batch)
	return r, h.after(p, err)
}

// Draft implements Model.
func (h *Host) Draft(ctx context.Context, req DraftRequest, emit func(speculative.Choice) bool) error {
	p, err := h.current()
	if err != nil {
		return err
	}
	return h.after(p, p.model.Draft(ctx, req, emit))
}

// Release implements Model.
func (h *Host) Release(ctx context.Context, sequences []Sequence) error {
	p, err := h.current()
	if err != nil {
		return err
	}
	return h.after(p, p.model.Release(ctx, sequences))
}

// Generation is raised each time a new process has loaded the model; 1 after Launch.
func (h *Host) Generation() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation
}

// Running reports whether calls have a chance now.
func (h *Host) Running() bool { return h.PID() != 0 }

// PID is the plugin's process id, 0 while there is none.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == nil {
		return 0
	}
	return h.running.sub.cmd.Process.Pid
}

// Wait returns nil once the plugin runs, ctx's error, or the reason why it will never run again.
func (h *Host) Wait(ctx context.Context) error {
	for {
		h.mu.Lock()
		running, final, changed := h.running, h.final, h.changed
		h.mu.Unlock()
		switch {
		case running != nil:
			return nil
		case final != nil:
			return fmt.Errorf("%s: %w", h.c.Name, final)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// errClosed: Close was called.
var errClosed = fmt.Errorf("%w: it was closed", ErrUnavailable)

// Close ends the plugin and returns when its process is gone.
func (h *Host) Close() error {
	h.cancel()
	<-h.done
	h.set(nil, errClosed)
	return nil
}

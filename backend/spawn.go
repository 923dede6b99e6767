package backend

import (
	"context"

	"github.com/hashicorp/go-plugin"
)

// Process is a plugin of another service than a model's, run as models are: nothing inherited, its
// lifetime tied to this program's, its standard error in the log.
type Process struct{ p *process }

// Spawn runs a plugin and shakes hands; service is what kind's GRPCClient makes. Of c the model and what comes with it is
// ignored. Errors are one line and wrap ErrUnavailable, ErrLoad (final) or the context's error.
func Spawn(ctx context.Context, c HostConfig, name string, kind plugin.Plugin) (_ *Process, service any, err error) {
	c.defaults()
	p, service, err := spawn(ctx, &c, name, kind)
	if err != nil {
		return nil, nil, err
	}
	return &Process{p}, service, nil
}

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.p.sub.exited }

// PID is the process id.
func (p *Process) PID() int { return p.p.sub.cmd.Process.Pid }

// Said are the last lines of its standard error.
func (p *Process) Said() string { return p.p.stderr.last() }

// Stop ends the process and returns when it is gone.
func (p *Process) Stop() { p.p.stop(stopGrace) }

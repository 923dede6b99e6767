package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// process is one run of a plugin, from its start to its end.
type process struct {
	sub    *subprocess
	plugin *plugin.Client
	stderr *lineLog
	conn   *grpc.ClientConn
	model  *Client
}

// start runs the plugin, shakes hands and loads the model. ctx bounds all of it. Errors are one line
// without the host's name and wrap ErrLoad (final), ErrUnavailable or the context's error.
func start(ctx context.Context, c *HostConfig) (*process, error) {
	p, service, err := spawn(ctx, c, PluginName, &Plugin{})
	if err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(ctx, p.sub.kill)
	defer unwatch()
	p.model = service.(*Client)
	if err := p.model.Load(ctx, c.modelPath(), c.Options, c.Progress); err != nil {
		p.stop(0)
		return nil, p.loadFailed(ctx, err, c.Model)
	}
	return p, nil
}

// modelPath is the model as a plugin finds it that works in another folder.
func (c *HostConfig) modelPath() string {
	if _, err := os.Stat(c.Model); c.Dir == "" || err != nil {
		return c.Model
	}
	if path, err := filepath.Abs(c.Model); err == nil {
		return path
	}
	return c.Model
}

// spawn runs a plugin and shakes hands; it returns the client of its one service, too.
func spawn(ctx context.Context, c *HostConfig, name string, kind plugin.Plugin) (*process, any, error) {
	path, err := program(c.Command)
	if err == nil && c.Dir != "" {
		path, err = filepath.Abs(path) // it would count from the plugin's folder
	}
	if err != nil {
		return nil, nil, err
	}
	p := &process{
		sub:    &subprocess{path: path, args: c.Args, env: c.Env, sha256: c.SHA256, work: c.Dir, user: c.User},
		stderr: &lineLog{log: c.Logger},
	}
	p.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {name: kind}},
		RunnerFunc:       p.sub.prepare,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true, // a Go plugin needs no variable of the host's
		StartTimeout:     c.StartTimeout,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		Stderr:           p.stderr,
		SyncStdout:       &lineLog{log: c.Logger},
		SyncStderr:       &lineLog{log: c.Logger},
		GRPCDialOptions:  dialOptions(),
	})
	// Everything below ends when the process does.
	begun := time.Now()
	unwatch := context.AfterFunc(ctx, p.sub.kill)
	defer unwatch()
	service, err := p.connect(name)
	if err != nil {
		late := time.Since(begun) >= c.StartTimeout
		p.stop(0)
		return nil, nil, p.explain(ctx, err, late, c.StartTimeout)
	}
	return p, service, nil
}

// program finds the binary; "" is this one.
func program(command string) (string, error) {
	if command == "" {
		path, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("%w: cannot find this program to start it again: %s", ErrUnavailable, oneLine(err.Error()))
		}
		return path, nil
	}
	path, err := exec.LookPath(command)
	if err != nil {
		var e *exec.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return "", startError(command, err)
	}
	return path, nil
}

func (p *process) connect(name string) (any, error) {
	protocol, err := p.plugin.Client()
	if err != nil {
		return nil, err
	}
	g, ok := protocol.(*plugin.GRPCClient)
	if !ok {
		return nil, errors.New("it does not speak gRPC")
	}
	p.conn = g.Conn
	return g.Dispense(name)
}

// explain turns a failed handshake into one line that says what to do. The process has been stopped,
// so that all it said is known.
func (p *process) explain(ctx context.Context, err error, late bool, timeout time.Duration) error {
	if e := ctx.Err(); e != nil {
		return fmt.Errorf("starting %s: %w", p.sub.path, e)
	}
	switch {
	case errors.Is(err, ErrLoad), errors.Is(err, ErrUnavailable):
		return err
	case p.sub.ID() == "":
		return fmt.Errorf("%w: cannot run %s: %s", ErrUnavailable, p.sub.path, oneLine(err.Error()))
	}
	greeting := p.sub.greeting()
	core, version, shaken := parseGreeting(greeting)
	switch {
	case greeting == "" && !late:
		return fmt.Errorf("%w: %s exited before the handshake (%s): is it an outrider plugin?%s", ErrUnavailable, p.sub.path, p.state(), p.said())
	case greeting == "":
		return fmt.Errorf("%w: %s did not shake hands within %s: is it an outrider plugin?%s", ErrUnavailable, p.sub.path, timeout, p.said())
	case !shaken:
		return fmt.Errorf("%w: %s printed %.80q instead of a plugin handshake: it is not an outrider plugin, correct the backend's command%s",
			ErrLoad, p.sub.path, greeting, p.said())
	case core != plugin.CoreProtocolVersion || version != ProtocolVersion:
		return fmt.Errorf("%w: %s speaks version %d of the plugin protocol, this program version %d: install the plugin that belongs to this release",
			ErrLoad, p.sub.path, version, ProtocolVersion)
	}
	return fmt.Errorf("%w: the handshake with %s failed: %s%s", ErrUnavailable, p.sub.path, oneLine(err.Error()), p.said())
}

// parseGreeting reads "core|version|network|address|protocol|certificate".
func parseGreeting(s string) (core, version int, ok bool) {
	f := strings.Split(s, "|")
	if len(f) < 4 {
		return 0, 0, false
	}
	core, err1 := strconv.Atoi(f[0])
	version, err2 := strconv.Atoi(f[1])
	return core, version, err1 == nil && err2 == nil
}

func (p *process) loadFailed(ctx context.Context, err error, model string) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("loading %s: %w", model, ctx.Err())
	case errors.Is(err, errNotNow):
		return err
	case errors.Is(err, ErrUnavailable):
		return fmt.Errorf("%w: %s died while it loaded %s (%s): is the file whole, and is there memory enough?%s", ErrUnavailable, p.sub.path, model, p.state(), p.said())
	}
	return err
}

// state is "exit status 2" or "signal: killed"; for a process that has been stopped.
func (p *process) state() string {
	<-p.sub.exited
	return p.sub.cmd.ProcessState.String()
}

// said quotes the last lines of stderr.
func (p *process) said() string {
	if s := p.stderr.last(); s != "" {
		return "; it said: " + s
	}
	return ""
}

// ping asks gRPC's health service.
func (p *process) ping(ctx context.Context) error {
	_, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	return err
}

// stop ends the process: gracefully within the grace given, then by force. It returns when the
// process is gone and nothing of it is left.
func (p *process) stop(grace time.Duration) {
	if grace == 0 {
		p.sub.kill()
	} else {
		defer time.AfterFunc(grace, p.sub.kill).Stop()
	}
	p.plugin.Kill()
	p.sub.closePipes()
	if p.sub.dir != "" {
		_ = os.RemoveAll(p.sub.dir)
	}
}

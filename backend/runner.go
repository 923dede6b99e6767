package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
)

// subprocess is go-plugin's runner for one plugin process. It is ours and not go-plugin's because the
// latter hands the host's own standard input on, whereas the plugin must see the end of its input
// when the host dies.
type subprocess struct {
	path   string
	args   []string
	env    []string
	sha256 string
	work   string // working folder; empty: the host's
	user   string // it runs as; empty: the host's

	cmd            *exec.Cmd
	dir            string   // of the socket
	hold           *os.File // write end of the plugin's standard input
	stdout, stderr *os.File
	exited         chan struct{} // closed when the process has been reaped

	mu     sync.Mutex
	pid    int    // 0: not started
	killed bool   // also before it was started
	first  []byte // beginning of what it printed: the handshake line
}

var _ runner.Runner = (*subprocess)(nil)

// prepare is go-plugin's RunnerFunc; cmd brings the handshake variables.
func (s *subprocess) prepare(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
	s.dir = dir
	if err := checkSum(s.path, s.sha256); err != nil {
		return nil, err
	}
	env := append(append([]string{}, s.env...), cmd.Env...)
	s.cmd = &exec.Cmd{Path: s.path, Args: append([]string{s.path}, s.args...), Env: env, Dir: s.work}
	if err := runAs(s.cmd, dir, s.user); err != nil {
		return nil, err
	}
	s.exited = make(chan struct{})
	return s, nil
}

// checkSum pins a binary to its digest.
func checkSum(path, want string) error {
	if want == "" {
		return nil
	}
	sum, err := hex.DecodeString(want)
	if err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("%w: the sha256 of %s is given as %q, must be %d hexadecimal digits", ErrLoad, path, want, 2*sha256.Size)
	}
	c := &plugin.SecureConfig{Checksum: sum, Hash: sha256.New()}
	switch ok, err := c.Check(path); {
	case err != nil:
		return startError(path, err)
	case !ok:
		return fmt.Errorf("%w: %s has sha256 %x, expected %x: install the pinned version or correct the checksum",
			ErrLoad, path, c.Hash.Sum(nil), sum)
	}
	return nil
}

// startError says what to do about a program that cannot be run.
func startError(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: there is no plugin program %s: install it or correct the backend's command", ErrUnavailable, path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: the plugin program %s may not be run: make it executable (chmod +x)", ErrUnavailable, path)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: the plugin program %s is not a program for %s/%s: install the right one", ErrUnavailable, path, runtime.GOOS, runtime.GOARCH)
	}
	return fmt.Errorf("%w: cannot run the plugin program %s: %s", ErrUnavailable, path, oneLine(err.Error()))
}

// Start implements runner.Runner.
func (s *subprocess) Start(context.Context) error {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil
		}
		return r, w
	}
	in, hold := pipe()
	stdout, out := pipe()
	stderr, errw := pipe()
	theirs = append(theirs, in, out, errw)
	s.hold, s.stdout, s.stderr = hold, stdout, stderr
	if in == nil || out == nil || errw == nil {
		s.closePipes()
		return fmt.Errorf("%w: no pipe for the plugin: too many open files?", ErrUnavailable)
	}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = in, out, errw
	if err := s.startUnlessKilled(); err != nil {
		s.closePipes()
		return err
	}
	go func() {
		_ = s.cmd.Wait() // the state is kept in cmd.ProcessState
		close(s.exited)
		// What it said last is in the pipes; a grandchild that holds them must not hold us.
		time.AfterFunc(time.Second, s.closePipes)
	}()
	return nil
}

func (s *subprocess) startUnlessKilled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed {
		return fmt.Errorf("%w: it was told to end before it began", ErrUnavailable)
	}
	if err := s.cmd.Start(); err != nil {
		return startError(s.path, err)
	}
	s.pid = s.cmd.Process.Pid
	return nil
}

// closePipes may be called again. A plugin whose standard input ends exits by itself.
func (s *subprocess) closePipes() {
	for _, f := range []*os.File{s.hold, s.stdout, s.stderr} {
		_ = f.Close() // nil or closed before
	}
}

// kill ends the process at once, if there is one, and keeps it from starting otherwise.
func (s *subprocess) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	if s.pid != 0 {
		_ = s.cmd.Process.Kill()
	}
}

// Kill implements runner.Runner.
func (s *subprocess) Kill(context.Context) error { s.kill(); return nil }

// Wait implements runner.Runner.
func (s *subprocess) Wait(context.Context) error {
	<-s.exited
	if s.cmd.ProcessState.Success() {
		return nil
	}
	return &exec.ExitError{ProcessState: s.cmd.ProcessState}
}

// ID implements runner.Runner.
func (s *subprocess) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		return ""
	}
	return strconv.Itoa(s.pid)
}

// Stdout implements runner.Runner; it keeps the beginning for error messages.
func (s *subprocess) Stdout() io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(s.stdout, firstBytes{s}), s.stdout}
}

type firstBytes struct{ s *subprocess }

func (f firstBytes) Write(p []byte) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.first = append(f.s.first, p[:min(len(p), 4096-len(f.s.first))]...)
	return len(p), nil
}

// greeting is the first line that the plugin printed.
func (s *subprocess) greeting() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, _, _ := bytes.Cut(s.first, []byte("\n"))
	return strings.TrimSpace(string(line))
}

// Stderr implements runner.Runner.
func (s *subprocess) Stderr() io.ReadCloser { return s.stderr }

// Name implements runner.Runner.
func (s *subprocess) Name() string { return s.path }

// Diagnose implements runner.Runner; explain does it better.
func (s *subprocess) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner.
func (s *subprocess) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.Runner.
func (s *subprocess) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// childFlags are the hidden flags with which this program starts itself as a server.
type childFlags struct {
	addressFile string
	withStdin   bool
	cpuProfile  string
}

func (f *childFlags) add(s *pflag.FlagSet) {
	s.StringVar(&f.addressFile, "address-file", "", "write the addresses that were opened to this file")
	s.BoolVar(&f.withStdin, "exit-with-stdin", false, "shut down when standard input closes")
	s.StringVar(&f.cpuProfile, "cpu-profile", "", "write where CPU time goes to this file")
	_ = s.MarkHidden("cpu-profile")     // they exist
	_ = s.MarkHidden("address-file")    // they exist
	_ = s.MarkHidden("exit-with-stdin") // they exist
}

// follow ends the context when standard input closes, if so asked: a parent that dies, even by
// kill -9, takes its children along.
func (f *childFlags) follow(ctx context.Context, stdin io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if f.withStdin {
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // its end is what matters
			cancel()
		}()
	}
	return ctx, cancel
}

// profile writes the profile that was asked for until stop is called.
func (f *childFlags) profile() (stop func(), err error) {
	if f.cpuProfile == "" {
		return func() {}, nil
	}
	w, err := os.Create(f.cpuProfile)
	if err != nil {
		return nil, usagef("--cpu-profile: %w", err)
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = w.Close() // who reads it finds out
	}, nil
}

// server is a child process of this program that serves on an address of its own choice.
type server struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}
	err   error
	log   *tail
	addrs []string // gRPC, admin, the edge's API
}

// startServer starts `outrider NAME args...` and waits until it serves.
func startServer(ctx context.Context, dir, name string, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%d.addr", name, time.Now().UnixNano()))
	args = append([]string{name, "--address-file", file, "--exit-with-stdin"}, args...)
	s := &server{cmd: exec.CommandContext(context.WithoutCancel(ctx), self, args...), done: make(chan struct{}), log: &tail{}}
	s.cmd.Stderr = s.log
	detach(s.cmd)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(file); err == nil {
			s.addrs = strings.Split(strings.TrimSpace(string(b)), "\n")
			_ = os.Remove(file) // the folder goes away anyway
			return s, nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return nil, fmt.Errorf("%s ended at once: %s", name, s.log.last())
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		}
	}
}

// addr is the gRPC address.
func (s *server) addr() string { return s.addrs[0] }

// admin is the HTTP address of metrics and health.
func (s *server) admin() string { return s.addrs[1] }

// http is the address of the edge's API.
func (s *server) http() string { return s.addrs[2] }

// stop closes the child's standard input and waits, at last with force.
func (s *server) stop() {
	_ = s.stdin.Close() // it may be gone already
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill() // it may be gone already
		<-s.done
	}
}

// kill ends the child without any warning.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.done
}

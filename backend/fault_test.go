package backend_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
)

// Each way not to come up is one line that names the host and the program or model and says what to do.
func TestLaunchErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	me, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(me))
	wrong := strings.Repeat("ab", 32)
	for _, x := range []struct {
		name   string
		change func(*backend.HostConfig)
		is     error
		says   []string
	}{
		{"missing", func(c *backend.HostConfig) { c.Command = filepath.Join(dir, "nothing") }, backend.ErrUnavailable,
			[]string{filepath.Join(dir, "nothing"), "install it or correct"}},
		{"missing in path", func(c *backend.HostConfig) { c.Command = "no-such-plugin" }, backend.ErrUnavailable,
			[]string{"no-such-plugin", "install it or correct"}},
		{"not executable", func(c *backend.HostConfig) { c.Command = file("plain", "x", 0o600) }, backend.ErrUnavailable,
			[]string{"plain", "chmod +x"}},
		{"foreign format", func(c *backend.HostConfig) { c.Command = file("foreign", "\x00\x01\x02", 0o700) }, backend.ErrUnavailable,
			[]string{"foreign", runtime.GOARCH}},
		{"exits at once", func(c *backend.HostConfig) { c.Args = []string{"as", "crash"} }, backend.ErrUnavailable,
			[]string{"exit status 127", "libfoo.so.3: cannot open shared object file"}},
		{"exits well", func(c *backend.HostConfig) { c.Args = []string{"as", "exit", "0"} }, backend.ErrUnavailable,
			[]string{"exit status 0", "is it an outrider plugin?"}},
		{"prints garbage", func(c *backend.HostConfig) { c.Args = []string{"as", "garbage"} }, backend.ErrLoad,
			[]string{`"hello, world"`, "correct the backend's command"}},
		{"other version", func(c *backend.HostConfig) { c.Args = []string{"as", "version"} }, backend.ErrLoad,
			[]string{"version 99", "this program version 1", "install the plugin"}},
		{"silent", func(c *backend.HostConfig) { c.Args, c.StartTimeout = []string{"as", "silent"}, 300*time.Millisecond }, backend.ErrUnavailable,
			[]string{"did not shake hands within 300ms: is it"}},
		{"checksum differs", func(c *backend.HostConfig) { c.SHA256 = wrong }, backend.ErrLoad,
			[]string{digest, wrong, "install the pinned version or correct the checksum"}},
		{"checksum malformed", func(c *backend.HostConfig) { c.SHA256 = "abc" }, backend.ErrLoad, []string{`"abc"`, "64 hexadecimal digits"}},
		{"load fails", func(c *backend.HostConfig) { c.Options["fail_load"] = "m: wrong magic\n  at byte 0" }, backend.ErrLoad,
			[]string{"cannot load the model: m: wrong magic at byte 0"}},
		{"unknown option", func(c *backend.HostConfig) { c.Options["colour"] = "red" }, backend.ErrLoad, []string{`"colour"`, "kv_tokens"}},
		{"loads for ever", func(c *backend.HostConfig) { c.Options["load"] = "1h" }, context.DeadlineExceeded, []string{"loading m"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := self("mock")
			x.change(&c)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if errors.Is(x.is, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(context.Background(), 2*time.Second)
			}
			defer cancel()
			h, err := backend.Launch(ctx, c)
			if err == nil {
				_ = h.Close()
				t.Fatal("it came up")
			}
			if !errors.Is(err, x.is) {
				t.Errorf("%v does not wrap %v", err, x.is)
			}
			for _, s := range append(x.says, "test mock: ") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
			t.Log(err)
		})
	}
}

func TestChecksumHolds(t *testing.T) {
	me, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	c := self("mock")
	c.SHA256 = fmt.Sprintf("%X", sha256.Sum256(me))
	launch(t, c)
}

func TestByHand(t *testing.T) {
	out, err := exec.Command(os.Args[0], "as", "mock").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "plugin of outrider") || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("%v, %s", err, out)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("OUTRIDER_TEST_SECRET", "secret")
	c := self("environment")
	c.Env = []string{"CUDA_VISIBLE_DEVICES=1"}
	h := launch(t, c)
	got := map[string]string{}
	for _, kv := range strings.Split(h.Info().Name, "\n") {
		k, v, _ := strings.Cut(kv, "=")
		got[k] = v
	}
	if got["CUDA_VISIBLE_DEVICES"] != "1" {
		t.Error("the plugin did not get what the config gives it")
	}
	for k := range got {
		switch k {
		case backend.CookieKey, "CUDA_VISIBLE_DEVICES", "SYSTEMROOT": // the latter: without it Windows runs nothing
		default:
			// The certificate has several lines; these are not names.
			if !strings.HasPrefix(k, "PLUGIN_") && os.Getenv(k) != "" {
				t.Errorf("%s was inherited", k)
			}
		}
	}
}

// The terminal's and the service manager's signals reach the whole group; the host decides.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send")
	}
	h := launch(t, self("mock"))
	pid := h.PID()
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if err := p.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if _, err := h.Forward(background(t), []backend.Segment{prompt(1, 1)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if h.PID() != pid {
		t.Error("a signal ended the plugin")
	}
}

// A host that is killed leaves neither a process nor a socket.
func TestNoOrphan(t *testing.T) {
	tmp, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	cmd := exec.Command(os.Args[0], "as", "host")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "TMP="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, err2 := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || err2 != nil {
		t.Fatal(line, err, err2)
	}
	if !alive(pid) {
		t.Fatal("the plugin does not run")
	}
	kill(t, cmd.Process.Pid)
	_ = cmd.Wait()
	for end := time.Now().Add(30 * time.Second); alive(pid); {
		if time.Now().After(end) {
			kill(t, pid)
			t.Fatal("the plugin outlived its host")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func alive(pid int) bool {
	if runtime.GOOS == "linux" { // a zombie that nobody reaps counts as dead
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && !bytes.Contains(b, []byte(") Z "))
	}
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

// A plugin that dies again and again is restarted ever more slowly; Close ends that.
func TestCrashLoop(t *testing.T) {
	ctx := background(t)
	c := self("mock", "fail_after", "1")
	c.MinBackoff, c.MaxBackoff = time.Millisecond, time.Minute
	log := &records{}
	c.Logger = slog.New(log)
	h := launch(t, c)
	for generation := uint64(1); generation < 5; generation++ {
		if err := h.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Forward(ctx, []backend.Segment{prompt(1, 1)}); err != nil {
			t.Fatalf("generation %d: %v", h.Generation(), err)
		}
		if _, err := h.Forward(ctx, []backend.Segment{prompt(1, 1)}); !errors.Is(err, backend.ErrUnavailable) {
			t.Fatalf("generation %d: %v is not ErrUnavailable", h.Generation(), err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(ctx); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("after close: %v", err)
	}
	log.want(t, slog.LevelError, "the mock engine exits after 1 passes")
	log.want(t, slog.LevelError, "the plugin died and will be restarted")
}

// A panic in the engine fails the call with its text, logs the stack, and ends in a fresh process.
func TestEnginePanics(t *testing.T) {
	ctx := background(t)
	c := self("mock", "panic_after", "1")
	c.MinBackoff = time.Millisecond
	log := &records{}
	c.Logger = slog.New(log)
	h := launch(t, c)
	if _, err := h.Forward(ctx, []backend.Segment{prompt(1, 1)}); err != nil {
		t.Fatal(err)
	}
	_, err := h.Forward(ctx, []backend.Segment{prompt(1, 1)})
	if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "as it was told") {
		t.Errorf("%v", err)
	}
	if err := h.Wait(ctx); err != nil || h.Generation() != 2 {
		t.Errorf("generation %d: %v", h.Generation(), err)
	}
	log.want(t, slog.LevelError, "the engine panicked")
}

// A plugin that is alive but answers nothing is killed and replaced.
func TestStuckPlugin(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signal to stop a process")
	}
	c := self("mock")
	c.MinBackoff, c.PingEvery, c.PingTimeout = time.Millisecond, 20*time.Millisecond, 300*time.Millisecond
	h := launch(t, c)
	ctx := background(t)
	stop(t, h.PID())
	for h.Generation() == 1 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if err := h.Wait(ctx); err != nil || h.Generation() != 2 {
		t.Errorf("generation %d: %v", h.Generation(), err)
	}
	// Nor does one keep Close waiting.
	pid := h.PID()
	stop(t, pid)
	closed := make(chan error, 1)
	go func() { closed <- h.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("Close waits for a plugin that does not answer")
		kill(t, pid)
	}
}

// records is a slog.Handler that keeps what it is given.
type records struct {
	mu   sync.Mutex
	seen []slog.Record
}

func (*records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *records) WithGroup(string) slog.Handler          { return r }
func (r *records) Handle(_ context.Context, x slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, x)
	return nil
}

func (r *records) want(t *testing.T, level slog.Level, part string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.seen {
		if x.Level == level && strings.Contains(x.Message, part) {
			return
		}
	}
	t.Errorf("no record at %s has %q", level, part)
}

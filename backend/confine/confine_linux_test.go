//go:build linux && !android

package confine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The test binary is the program that is confined: it tries what its arguments say.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "try" {
		for _, what := range os.Args[2:] {
			verb, arg, _ := strings.Cut(what, ":")
			fmt.Printf("%s %v\n", what, try(verb, arg))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func try(verb, arg string) error {
	switch verb {
	case "read":
		_, err := os.ReadFile(arg)
		return err
	case "write":
		return os.WriteFile(arg, nil, 0o600)
	case "rename":
		return os.Rename(arg, arg+"2")
	case "dial":
		c, err := net.Dial("tcp", arg)
		if err == nil {
			_ = c.Close()
		}
		return err
	case "udp":
		c, err := net.Dial("udp", arg)
		if err == nil {
			_ = c.Close()
		}
		return err
	case "run":
		return exec.Command(arg).Run()
	case "signal":
		var pid int
		if _, err := fmt.Sscan(arg, &pid); err != nil {
			return err
		}
		return unix.Kill(pid, 0)
	case "ptrace":
		var pid int
		if _, err := fmt.Sscan(arg, &pid); err != nil {
			return err
		}
		return unix.PtraceAttach(pid)
	case "namespace":
		return unix.Unshare(unix.CLONE_NEWUSER)
	}
	return errors.New("no such try")
}

// attempt runs the tries under a policy and returns how each ended.
func attempt(t *testing.T, p *Policy, tries ...string) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"try"}, tries...)...)
	cmd.Env = []string{}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p.Read = append(p.Read, self)
	if _, err := p.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	got := map[string]string{}
	for line := range strings.Lines(out.String()) {
		what, how, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[what] = how
	}
	return got
}

func TestConfined(t *testing.T) {
	s := Support()
	t.Log(s, s.Lacking)
	if s.Landlock == 0 {
		t.Skip("Landlock is not to be had here")
	}
	dir := t.TempDir()
	path := func(n string) string { return filepath.Join(dir, n) }
	for _, d := range []string{"mine", "shown"} {
		if err := os.Mkdir(path(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"secret", "shown/model", "mine/notes"} {
		if err := os.WriteFile(path(f), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path("shown/model"), path("link")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("OUTRIDER_TEST_SECRET", "secret")
	p := System()
	p.Read, p.Write = append(p.Read, path("shown"), path("nowhere")), []string{path("mine")}
	mayNot := []string{"read:" + path("secret"), "write:" + path("secret"), "write:" + path("new"), "write:" + path("shown/model"), "rename:" + path("shown/model"),
		"read:/etc/shadow", fmt.Sprintf("read:/proc/%d/environ", os.Getpid()), fmt.Sprintf("read:/proc/%d/mem", os.Getpid())}
	may := []string{"read:" + path("shown/model"), "read:" + path("link"), "write:" + path("mine/new"), "rename:" + path("mine/notes"),
		"read:/proc/self/environ", "read:/proc/cpuinfo", "write:/dev/null", "run:/bin/true"}
	dial, udp := "dial:"+l.Addr().String(), "udp:"+l.Addr().String()
	if s.Landlock >= 4 || s.Seccomp {
		mayNot = append(mayNot, dial)
	}
	if s.Landlock >= 6 {
		mayNot = append(mayNot, fmt.Sprintf("signal:%d", os.Getpid()))
	}
	if s.Seccomp {
		mayNot = append(mayNot, udp, "namespace", fmt.Sprintf("ptrace:%d", os.Getpid()))
	}
	got := attempt(t, &p, append(slices.Clone(mayNot), may...)...)
	for _, x := range mayNot {
		if how, ok := got[x]; !ok || how == "<nil>" {
			t.Errorf("it could %s", x)
		}
	}
	for _, x := range may {
		if got[x] != "<nil>" {
			t.Errorf("%s: %s", x, got[x])
		}
	}
	p.Network = true
	for what, how := range attempt(t, &p, dial, udp) {
		if how != "<nil>" {
			t.Errorf("%s with the network allowed: %s", what, how)
		}
	}
	// This process is as free as before.
	for _, x := range []string{"read:" + path("secret"), "write:" + path("new"), dial} {
		verb, arg, _ := strings.Cut(x, ":")
		if err := try(verb, arg); err != nil {
			t.Errorf("this process is confined: %s: %v", x, err)
		}
	}
}

// TestFilter runs the filter on calls of this architecture and of others.
func TestFilter(t *testing.T) {
	if auditArch == 0 {
		t.Skip("no filter for this architecture")
	}
	fails := func(e unix.Errno) int { return unix.SECCOMP_RET_ERRNO | int(e) }
	const allowed = unix.SECCOMP_RET_ALLOW
	type call struct {
		arch, nr, arg uint32
		network       bool
		want          int
	}
	calls := []call{
		{auditArch, unix.SYS_READ, 0, false, allowed},
		{auditArch, unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD, false, allowed},
		{auditArch, unix.SYS_CLONE, unix.CLONE_NEWUSER | uint32(unix.SIGCHLD), false, fails(unix.EPERM)},
		{auditArch, unix.SYS_CLONE3, 0, false, fails(unix.ENOSYS)},
		{auditArch, unix.SYS_SOCKET, unix.AF_UNIX, false, allowed},
		{auditArch, unix.SYS_SOCKET, unix.AF_NETLINK, false, allowed},
		{auditArch, unix.SYS_SOCKET, unix.AF_INET, false, fails(unix.EACCES)},
		{auditArch, unix.SYS_SOCKET, unix.AF_INET6, false, fails(unix.EACCES)},
		{auditArch, unix.SYS_SOCKET, unix.AF_VSOCK, false, fails(unix.EACCES)},
		{auditArch, unix.SYS_SOCKET, unix.AF_INET, true, allowed},
		{auditArch ^ 1, unix.SYS_READ, 0, false, fails(unix.ENOSYS)},
	}
	for _, nr := range refused() {
		calls = append(calls, call{auditArch, nr, 0, true, fails(unix.EPERM)})
	}
	if uint32(auditArch) == unix.AUDIT_ARCH_X86_64 {
		calls = append(calls, call{auditArch, 1<<30 | unix.SYS_READ, 0, false, fails(unix.ENOSYS)})
	}
	for _, c := range calls {
		vm, err := bpf.NewVM(program(c.network))
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 64) // struct seccomp_data; the emulator reads it as packets, big-endian
		binary.BigEndian.PutUint32(data[offNumber:], c.nr)
		binary.BigEndian.PutUint32(data[offArch:], c.arch)
		binary.BigEndian.PutUint32(data[offFirst:], c.arg)
		if got, err := vm.Run(data); err != nil || got != c.want {
			t.Errorf("%+v: %#x %v", c, got, err)
		}
	}
}

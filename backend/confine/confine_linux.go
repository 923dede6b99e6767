//go:build linux && !android

package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Support says what this kernel can enforce.
func Support() Applied {
	a := Applied{Seccomp: seccompWorks()}
	var missing []string
	abi, err := landlockABI()
	if a.Landlock = abi; err != nil {
		missing = append(missing, err.Error())
	}
	if !a.Seccomp {
		missing = append(missing, "seccomp filters are not to be had ("+runtime.GOARCH+", this kernel, or the container)")
	}
	a.Lacking = strings.Join(missing, "; ")
	return a
}

// Start starts a program under a policy. What the kernel lacks is left out and told; what it has and refuses is an
// error.
//
// A thread that has given its rights up starts the program, which inherits what is left, and ends: so neither this
// process is bound, nor is a third program needed between the two.
func (p *Policy) Start(cmd *exec.Cmd) (Applied, error) {
	a := Support()
	rules, err := p.ruleset(a.Landlock)
	if err != nil {
		return Applied{}, err
	}
	if rules >= 0 {
		defer func() { _ = unix.Close(rules) }() // it was only read
	}
	return a, onThread(func() error { return p.startHere(cmd, rules, a) })
}

// onThread calls f on a thread that ends afterwards. It is not the main one, which stands for the whole process where
// others ask what they may do to it, and does not end.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return // still locked: the thread ends
		}
		done <- onThread(f) // another, as this one is locked
		runtime.UnlockOSThread()
	}()
	return <-done
}

// startHere binds the thread that it runs on.
func (p *Policy) startHere(cmd *exec.Cmd, rules int, a Applied) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if cmd.SysProcAttr == nil || cmd.SysProcAttr.Credential == nil { // who becomes another user loses them by that
		if err := dropCapabilities(); err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	if rules >= 0 {
		if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); e != 0 {
			return fmt.Errorf("landlock_restrict_self: %w", e)
		}
	}
	if a.Seccomp {
		if err := filter(p.Network); err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	return cmd.Start()
}

// kept are the capabilities that root's programs go on with: to open what is granted whoever owns it, to lock memory,
// to choose processors. With the others they could look into other processes and change the system.
const kept = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_IPC_LOCK | 1<<unix.CAP_SYS_NICE

// dropCapabilities takes this thread's away; no_new_privs keeps a program that it starts from having them again.
func dropCapabilities() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return err
	}
	d = [2]unix.CapUserData{{Effective: d[0].Effective & kept, Permitted: d[0].Permitted & kept}, {}}
	return unix.Capset(&h, &d[0])
}

// landlockABI is the kernel's version of Landlock.
func landlockABI() (int, error) {
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch e {
	case 0:
		return int(v), nil
	case unix.EOPNOTSUPP:
		return 0, errors.New("the kernel's Landlock is off: add landlock to its lsm= parameter")
	}
	return 0, fmt.Errorf("no Landlock (%w): it needs Linux 5.13 or newer, and a container that lets its calls through", e)
}

const (
	readFile   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	readFolder = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	useDevice  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// onFiles are the rights that a file can have; a rule for one with others is refused.
	onFiles = readFile | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// noDevices are the rights that writable folders lack: device nodes are neither made nor driven there.
	noDevices = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV |
		unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX // nor are other programs' sockets used
)

// handled is what a version of Landlock can deny: all of it is denied where no rule allows it.
func handled(abi int, network bool) unix.LandlockRulesetAttr {
	r := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	if abi >= 2 {
		r.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		r.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 && !network {
		r.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		r.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		r.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi >= 9 && !network {
		r.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	return r
}

// ruleset makes the kernel's form of the policy; -1 when there is no Landlock.
func (p *Policy) ruleset(abi int) (fd int, err error) {
	if abi <= 0 {
		return -1, nil
	}
	attr := handled(abi, p.Network)
	r, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		return -1, fmt.Errorf("landlock_create_ruleset: %w", e)
	}
	fd = int(r)
	unix.CloseOnExec(fd)
	for _, x := range []struct {
		paths  []string
		access uint64
	}{{p.Read, readFolder}, {p.Write, attr.Handled_access_fs &^ noDevices}, {p.Devices, useDevice}} {
		for _, path := range x.paths {
			if err := allow(fd, path, x.access&attr.Handled_access_fs); err != nil {
				_ = unix.Close(fd)
				return -1, err
			}
		}
	}
	return fd, nil
}

// allow adds one rule.
func allow(rules int, path string, access uint64) error {
	f, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // not there, or not for us and so not for it
	}
	defer func() { _ = unix.Close(f) }()
	var st unix.Stat_t
	if err := unix.Fstat(f, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= onFiles
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(f)}
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0); e != 0 {
		return &os.PathError{Op: "landlock_add_rule", Path: path, Err: e}
	}
	return nil
}

package local

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// group puts the program into a process group of its own, which is ended as a whole; it also ends with this process.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// limit bounds the memory and the files of a program that has just begun.
func limit(pid int) {
	for what, most := range map[int]uint64{unix.RLIMIT_AS: maxMemory, unix.RLIMIT_FSIZE: maxFile, unix.RLIMIT_CORE: 0} {
		_ = unix.Prlimit(pid, what, &unix.Rlimit{Cur: most, Max: most}, nil) // one that has ended needs none
	}
}

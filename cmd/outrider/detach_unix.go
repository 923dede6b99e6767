//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detach keeps the terminal's Ctrl-C from the child: its parent decides when it ends.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

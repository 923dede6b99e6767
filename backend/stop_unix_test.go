//go:build unix

package backend_test

import (
	"syscall"
	"testing"
)

// stop suspends a process.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

//go:build race

package main

import (
	"os"
	"syscall"
)

// dropExitSleep starts a process of the tests anew without the second that the race detector sleeps at each exit:
// servers hand make race's variable on, plugins inherit nothing.
func dropExitSleep() {
	if self, err := os.Executable(); err == nil && os.Getenv("GORACE") == "" {
		_ = syscall.Exec(self, os.Args, append(os.Environ(), "GORACE=atexit_sleep_ms=0")) //nolint:gosec // it is this program
	}
}

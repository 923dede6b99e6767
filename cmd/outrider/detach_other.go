//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// detach does nothing where there are no process groups.
func detach(*exec.Cmd) {}

// ownedByUser: temporary folders are each user's own here.
func ownedByUser(os.FileInfo) bool { return true }

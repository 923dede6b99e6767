//go:build !linux || android

package confine

import (
	"os/exec"
	"runtime"
)

// Support says that there is nothing here. Android ends programs that ask its kernel.
func Support() Applied {
	return Applied{Lacking: "programs cannot be confined on " + runtime.GOOS}
}

// Start starts a program.
func (p *Policy) Start(cmd *exec.Cmd) (Applied, error) { return Support(), cmd.Start() }

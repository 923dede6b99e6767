//go:build !unix

package backend

import (
	"fmt"
	"os/exec"
)

// runAs is possible on Unix only.
func runAs(_ *exec.Cmd, _, name string) error {
	if name == "" {
		return nil
	}
	return fmt.Errorf("%w: plugins cannot run as another user on this system: leave the user setting out", ErrLoad)
}

//go:build unix

package backend

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// runAs makes a plugin run as another user, of its name or number, without the host's groups; only root can.
// The socket's folder becomes that user's.
func runAs(cmd *exec.Cmd, dir, name string) error {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return fmt.Errorf("%w: there is no user %q for the plugin %s: correct its user setting", ErrLoad, name, cmd.Path)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%w: user %q has no numbers here", ErrLoad, name)
	}
	if os.Geteuid() != 0 && os.Geteuid() != int(uid) {
		return fmt.Errorf("%w: only root can run the plugin %s as user %s: start as root, or leave the user setting out", ErrLoad, cmd.Path, name)
	}
	if os.Geteuid() != 0 {
		return nil // it is that user already
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return fmt.Errorf("%w: the plugin's folder: %s", ErrUnavailable, oneLine(err.Error()))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return nil
}

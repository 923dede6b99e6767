package llamacpp

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile puts data into a file without name: whatever ends the process, nothing is left behind.
func memoryFile(model string, data []byte) (path string, remove func(), err error) {
	fd, err := unix.MemfdCreate(model, unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, err
	}
	f := os.NewFile(uintptr(fd), model)
	remove = func() { _ = f.Close() } // it may be closed already
	path = fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, err = f.Write(data); err == nil {
		_, err = os.Stat(path) // a container may have no /proc
	}
	if err != nil {
		remove()
	}
	return path, remove, err
}

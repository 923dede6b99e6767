//go:build linux && !android

package confine

import "golang.org/x/sys/unix"

// auditArch is the architecture by whose numbers calls are judged.
const auditArch = unix.AUDIT_ARCH_X86_64

// refusedHere are refused calls that only this architecture has.
var refusedHere = []uint32{unix.SYS_IOPERM, unix.SYS_IOPL, unix.SYS_USELIB, unix.SYS_MODIFY_LDT}

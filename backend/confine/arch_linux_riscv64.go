//go:build linux && !android

package confine

import "golang.org/x/sys/unix"

// auditArch is the architecture by whose numbers calls are judged.
const auditArch = unix.AUDIT_ARCH_RISCV64

// refusedHere are refused calls that only this architecture has.
var refusedHere = []uint32{}

//go:build linux && !android && !amd64 && !arm64 && !riscv64

package confine

// auditArch: none of this architecture is known, and no filter is loaded.
const auditArch = 0

var refusedHere []uint32

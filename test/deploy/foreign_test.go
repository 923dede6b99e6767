package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Binaries for other processors run the demo under qemu's user emulation. The program starts itself as plugin, so
// the kernel must know how to run them (binfmt_misc); that is registered here and taken back.
func TestForeignProcessors(t *testing.T) {
	for _, c := range []struct{ arch, qemu, machine string }{{"arm64", "aarch64", "b7"}, {"riscv64", "riscv64", "f3"}} {
		t.Run(c.arch, func(t *testing.T) {
			emulator, err := exec.LookPath("qemu-" + c.qemu)
			if err != nil {
				t.Skipf("no qemu-%s (Debian's qemu-user): nothing was run", c.qemu)
			}
			register(t, c.arch, c.machine, emulator)
			bin := filepath.Join(t.TempDir(), "outrider")
			b := exec.Command("go", "build", "-trimpath", "-o", bin, "./cmd/outrider")
			b.Dir, b.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+c.arch)
			if out, err := b.CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			out, err := exec.CommandContext(t.Context(), bin, "demo", "-n", "16").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "yes, every token") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// register tells the kernel to run ELF files of a machine by an emulator.
func register(t *testing.T, arch, machine, emulator string) {
	const dir = "/proc/sys/fs/binfmt_misc"
	if _, err := os.Stat(dir + "/register"); err != nil {
		if out, err := exec.Command("mount", "-t", "binfmt_misc", "none", dir).CombinedOutput(); err != nil {
			t.Skipf("binfmt_misc cannot be mounted here (%s): nothing was run", strings.TrimSpace(string(out)))
		}
	}
	name := "outrider-test-" + arch
	magic := `\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x` + machine + `\x00`
	mask := `\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`
	if err := os.WriteFile(dir+"/register", fmt.Appendf(nil, ":%s:M::%s:%s:%s:", name, magic, mask, emulator), 0); err != nil && !os.IsExist(err) {
		t.Skipf("%s files cannot be registered here (%v): nothing was run", arch, err)
	}
	t.Cleanup(func() { _ = os.WriteFile(dir+"/"+name, []byte("-1"), 0) })
}

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
)

// command runs one that must succeed.
func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v %s", strings.Join(args, " "), err, out)
	}
}

// mountDisk gives a small disk of its own, an ext4 in a file; tests without the right to mount skip.
func mountDisk(t *testing.T) string {
	t.Helper()
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image).CombinedOutput(); err != nil {
		t.Skipf("no mkfs.ext4 here (%s): the faults of disks were not done", out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted here (%s): the faults of disks were not done", bytes.TrimSpace(out))
	}
	t.Cleanup(func() {
		_ = exec.Command("fsfreeze", "-u", dir).Run() // where a test broke off
		command(t, "umount", dir)
	})
	return dir
}

// chaosDisk: all that edge and cloud keep and log is on one small disk, which gets full and hangs.
func chaosDisk(t *testing.T, table *faultTable) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	disk := mountDisk(t)
	in := func(name string) string { return filepath.Join(disk, name) }
	config := filepath.Join(t.TempDir(), "outrider.yaml")
	writeConfig(t, config, fmt.Sprintf(`
log: {level: debug}
cloud: {audit: %s}
edge: {suffix: %s, totals: %s, router: {record: %s}}
`, in("audit.jsonl"), in("learned.drafts"), in("totals.json"), in("record.jsonl")))
	logs := map[string]*os.File{}
	for _, name := range []string{"cloud", "edge"} {
		f, err := os.OpenFile(in(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		logs[name] = f
	}
	c, s := chaosStack(t, ctx, table, stackConfig{draft: models.DraftName, rtt: 10 * time.Millisecond, config: config, cloudArgs: []string{"--pace", "15ms+0.1ms"},
		edgeArgs: []string{"--cache", in("cache")}, onCloud: launch{stderr: logs["cloud"]}, onEdge: launch{stderr: logs["edge"]}}, 6, 32)
	c.suffer(fault{name: "the disk is full for 3 s (logs, audit log, learned drafts, totals, records)", harm: func() {
		for size := 1 << 20; size >= 512; size /= 2 { // the last bytes, too
			for os.WriteFile(in(fmt.Sprint("fill", size)), make([]byte, size), 0o600) == nil && size < 1<<20 {
				if f, err := os.OpenFile(in("fill"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
					_, err = f.Write(make([]byte, size))
					_ = f.Close()
					if err != nil {
						break
					}
				}
			}
		}
		time.Sleep(3 * time.Second)
		full, _ := filepath.Glob(in("fill*"))
		for _, f := range full {
			_ = os.Remove(f)
		}
	}})
	c.suffer(fault{name: "the disk hangs for 3 s (fsfreeze)", harm: func() {
		command(t, "fsfreeze", "-f", disk)
		time.Sleep(3 * time.Second)
		command(t, "fsfreeze", "-u", disk)
	}})
	s.edge.stop()
	s.cloud.stop()
	torn, lost := 0, false
	for _, name := range []string{"audit.jsonl", "learned.drafts", "totals.json"} {
		b, err := os.ReadFile(in(name))
		if err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		if strings.HasSuffix(name, ".jsonl") {
			for _, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
				if !json.Valid(line) { // one was cut off where the disk was full
					torn++
				}
				lost = lost || bytes.Contains(line, []byte(`"event":"lost"`))
			}
		}
	}
	if torn > 1 || !lost {
		t.Errorf("the audit log has %d torn lines, and says that entries were lost: %v", torn, lost)
	}
}

package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// host is a machine of its own: a network namespace and a folder.
type host struct {
	t         *testing.T
	name, dir string
}

func (h host) command(args ...string) *exec.Cmd {
	c := exec.Command("ip", append([]string{"netns", "exec", h.name, program(h.t)}, args...)...)
	c.Dir = h.dir
	return c
}

// serve runs outrider until the test ends.
func (h host) serve(what string) {
	h.t.Helper()
	log, err := os.Create(filepath.Join(h.dir, what+".log"))
	if err != nil {
		h.t.Fatal(err)
	}
	c := h.command(what)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
		_ = log.Close()
	})
}

func (h host) write(name, text string) {
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// TestTwoHosts follows "Two hosts" of docs/deployment.md over two network namespaces: mutual TLS, an answer, and
// none any more after the edge's certificate was revoked.
func TestTwoHosts(t *testing.T) {
	run := func(dir, name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v %s", name, strings.Join(args, " "), err, out)
		}
	}
	if out, err := exec.Command("ip", "netns", "add", "outrider-gpu1").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here (%s): nothing was run", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", "outrider-gpu1").Run() })
	run("", "ip", "netns", "add", "outrider-edge")
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", "outrider-edge").Run() })
	gpu1, laptop := host{t, "outrider-gpu1", t.TempDir()}, host{t, "outrider-edge", t.TempDir()}
	run("", "ip", "link", "add", "outr-g", "netns", gpu1.name, "type", "veth", "peer", "name", "outr-l", "netns", laptop.name)
	for _, l := range [][3]string{{gpu1.name, "outr-g", "10.77.0.1/24"}, {laptop.name, "outr-l", "10.77.0.2/24"}} {
		run("", "ip", "-n", l[0], "addr", "add", l[2], "dev", l[1])
		run("", "ip", "-n", l[0], "link", "set", l[1], "up")
		run("", "ip", "-n", l[0], "link", "set", "lo", "up")
	}
	mine := t.TempDir()
	run(mine, program(t), "certs", "init")
	run(mine, program(t), "certs", "server", "gpu1", "--host", "10.77.0.1")
	run(mine, program(t), "certs", "edge", "acme/laptop")
	run(mine, "cp", "certs/ca.pem", "certs/crl.pem", "certs/server/gpu1.pem", "certs/server/gpu1.key", gpu1.dir)
	run(mine, "cp", "certs/ca.pem", "certs/edge/acme/laptop.pem", "certs/edge/acme/laptop.key", laptop.dir)
	gpu1.write("outrider.yaml", "cloud:\n  listen: 0.0.0.0:7600\n  tls: {cert: gpu1.pem, key: gpu1.key, client_ca: ca.pem, crl: crl.pem}\n  audit: audit.jsonl\n")
	laptop.write("outrider.yaml", "edge:\n  cloud: 10.77.0.1:7600\n  tls: {ca: ca.pem, cert: laptop.pem, key: laptop.key}\n")
	gpu1.serve("cloud")
	laptop.serve("edge")

	var out []byte
	err := os.ErrNotExist
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		out, err = laptop.command("generate", "--fallback", "wait", "-t", "0", "-n", "16", "Once upon a time").CombinedOutput()
	}
	if err != nil || !strings.Contains(string(out), "girl") {
		t.Fatalf("%v %s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(gpu1.dir, "audit.jsonl")); err != nil || !strings.Contains(string(b), `"tenant":"acme","edge":"laptop"`) || strings.Contains(string(b), "girl") {
		t.Errorf("the audit log: %v %s", err, b)
	}
	run(mine, program(t), "certs", "revoke", "acme/laptop")
	run(mine, "cp", "certs/crl.pem", gpu1.dir)
	refused := false
	for end := time.Now().Add(time.Minute); !refused && time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		out, err = laptop.command("generate", "--fallback", "fail", "-n", "4", "--deadline", "10s", "Once").CombinedOutput()
		refused = err != nil
	}
	log, _ := os.ReadFile(filepath.Join(gpu1.dir, "cloud.log")) // the edge may see only that the connection broke
	if !refused || !strings.Contains(string(log), "the certificate was revoked") {
		t.Errorf("after the revocation: %v %s\n%s", err, out, log)
	}
}

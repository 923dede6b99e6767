package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/models"
)

// certs runs `outrider certs ...` on the authority in dir.
func certs(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out, errs := outrider(t, "", append([]string{"certs", "--dir", dir}, args...)...)
	if code != 0 {
		t.Fatalf("certs %s: %s", args, errs)
	}
	return out
}

// secured is a cloud and an edge with certificates, as real processes.
type secured struct {
	dir, certs  string
	cloud, edge *server
	audit       string
}

func (s *secured) start(t *testing.T, cloudConfig, edgeConfig string, cloudArgs ...string) {
	t.Helper()
	start := func(name, config string, args ...string) *server {
		file := writeFile(t, s.dir, name+".yaml", config)
		v, err := startServer(context.Background(), s.dir, name, append([]string{"--config", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.stop)
		return v
	}
	if s.cloud == nil {
		s.cloud = start("cloud", cloudConfig, cloudArgs...)
	}
	s.edge = start("edge", edgeConfig, "--cloud", s.cloud.addr(), "--cache", "none", "--draft", models.DraftName, "--fallback", "fail", "--fallback-after", "3s")
}

func newSecured(t *testing.T) *secured {
	dir := t.TempDir()
	s := &secured{dir: dir, certs: filepath.Join(dir, "certs"), audit: filepath.Join(dir, "audit.jsonl")}
	certs(t, s.certs, "init")
	certs(t, s.certs, "server", "gpu1", "--host", "127.0.0.1,localhost")
	certs(t, s.certs, "edge", "acme/laptop")
	return s
}

func (s *secured) cloudConfig() string {
	return strings.ReplaceAll(`
cloud:
  tls: {cert: DIR/server/gpu1.pem, key: DIR/server/gpu1.key, client_ca: DIR/ca.pem, crl: DIR/crl.pem}
  tenants: {acme: {sessions: 1, tokens_per_minute: 100000, context: 200}}
  audit: `+s.audit+`
`, "DIR", s.certs)
}

func (s *secured) edgeConfig(more string) string {
	return strings.ReplaceAll("edge:\n  tls: {ca: DIR/ca.pem, cert: DIR/edge/acme/laptop.pem, key: DIR/edge/acme/laptop.key}\n"+more, "DIR", s.certs)
}

func (s *secured) generate(t *testing.T, n int, more ...string) (int, string, string) {
	return outrider(t, "", append([]string{"generate", "--edge", s.edge.addr(), "-t", "0", "-n", fmt.Sprint(n), "--ignore-end", "Once upon a time"}, more...)...)
}

func (s *secured) events(t *testing.T) (all []cloud.Event) {
	b, err := os.ReadFile(s.audit)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var e cloud.Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// TestMutualTLS: processes that know each other work together; certificates are renewed under a live
// session; a revoked edge's stream ends and it is refused; the audit log tells of all that and holds no text.
func TestMutualTLS(t *testing.T) {
	s := newSecured(t)
	s.start(t, s.cloudConfig(), s.edgeConfig(""), "--pace", "100ms", "--run-ahead", "off")
	code, plain, errs := s.generate(t, 16)
	if code != 0 || plain == "" {
		t.Fatalf("%d %q %s", code, plain, errs)
	}
	type result struct {
		code      int
		out, errs string
	}
	live := make(chan result, 1)
	go func() { // longer than the files take to be seen
		var r result
		r.code, r.out, r.errs = s.generate(t, 60, "--no-draft") // about 6 s
		live <- r
	}()
	waitFor(t, "a session is open", func() bool { return eventsOf(s.events(t), "opened") >= 2 })
	certs(t, s.certs, "renew", "gpu1")
	old := strings.Fields(certs(t, s.certs, "list"))
	certs(t, s.certs, "renew", "acme/laptop")
	for i, w := range old { // that which the open connection has shown
		if w == "acme/laptop" {
			certs(t, s.certs, "revoke", old[i+5])
		}
	}
	if r := <-live; r.code != 0 || !strings.HasPrefix(r.out, strings.TrimSuffix(plain, "\n")) {
		t.Errorf("rotation under a live session: %d %q, alone %q, %s", r.code, r.out, plain, r.errs)
	}
	if all := s.events(t); eventsOf(all, "denied") == 0 || eventsOf(all, "resumed") == 0 {
		t.Errorf("the old connection was not closed under the session: %+v", all)
	}
	if code, again, errs := s.generate(t, 16); code != 0 || again != plain {
		t.Errorf("with the new certificate: %d %q %s", code, again, errs)
	}
	certs(t, s.certs, "revoke", "acme/laptop")
	waitFor(t, "the edge is refused", func() bool { code, _, _ := s.generate(t, 16); return code != 0 })
	text, _ := os.ReadFile(s.audit)
	if strings.Contains(string(text), "Once") || strings.Contains(string(text), strings.Fields(plain)[0]+" ") || !strings.Contains(string(text), `"tenant":"acme","edge":"laptop"`) {
		t.Errorf("audit: %s", text)
	}
}

func eventsOf(all []cloud.Event, what string) (n int) {
	for _, e := range all {
		if e.Event == what {
			n++
		}
	}
	return n
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not: " + what)
		}
	}
}

// TestTenantIsProven: an edge that says another tenant's name is refused; so is a prompt beyond the
// tenant's context, with the quota's name.
func TestTenantIsProven(t *testing.T) {
	s := newSecured(t)
	s.start(t, s.cloudConfig(), s.edgeConfig("  tenant: other\n"))
	if code, _, errs := s.generate(t, 4); code == 0 || !strings.Contains(errs, "correct edge.tenant") {
		t.Errorf("%d %s", code, errs)
	}
	s.start(t, "", s.edgeConfig(""))
	code, _, errs := outrider(t, "", "generate", "--edge", s.edge.addr(), "-n", "8", strings.Repeat("Once upon a time. ", 60))
	if code == 0 || !strings.Contains(errs, "quota context") || strings.Count(errs, "\n") != 1 {
		t.Errorf("%d %s", code, errs)
	}
}

// TestTokenForCloud: a token instead of a certificate, from a file or the environment.
func TestTokenForCloud(t *testing.T) {
	s := newSecured(t)
	tokens := filepath.Join(s.dir, "tokens")
	_, token, _ := outrider(t, "", "keys", "add", "acme/laptop", "--file", tokens)
	file := writeFile(t, s.dir, "token", token)
	cloudConfig := strings.ReplaceAll("cloud:\n  tls: {cert: DIR/server/gpu1.pem, key: DIR/server/gpu1.key}\n  tokens: "+tokens+"\n  audit: "+s.audit, "DIR", s.certs)
	edgeConfig := "edge:\n  tls: {ca: " + filepath.Join(s.certs, "ca.pem") + "}\n"
	s.start(t, cloudConfig, edgeConfig+"  token_file: "+file)
	if code, out, errs := s.generate(t, 4); code != 0 || out == "" {
		t.Errorf("%d %q %s", code, out, errs)
	}
	if e := s.events(t)[0]; e.Tenant != "acme" || e.Edge != "laptop" || e.Event != "opened" {
		t.Errorf("%+v", e)
	}
	s.start(t, "", edgeConfig)
	if code, _, errs := s.generate(t, 4); code == 0 || !strings.Contains(errs, "asks for a token") {
		t.Errorf("%d %s", code, errs)
	}
	t.Setenv(tokenVariable, strings.TrimSpace(token))
	s.start(t, "", edgeConfig)
	if code, _, errs := s.generate(t, 4); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	if _, out, _ := outrider(t, "", "config"); strings.Contains(out, strings.TrimSpace(token)) {
		t.Error("the configuration shows the token")
	}
}

// TestInsecureIsAskedForByName: what other machines reach or read starts only when it is said so.
func TestInsecureIsAskedForByName(t *testing.T) {
	s := newSecured(t)
	noClients := writeFile(t, s.dir, "c.yaml", strings.ReplaceAll("cloud:\n  tls: {cert: DIR/server/gpu1.pem, key: DIR/server/gpu1.key}\n", "DIR", s.certs))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"cloud", "--listen", "0.0.0.0:0", "--admin", ""}, "there is no TLS"},
		{[]string{"cloud", "--config", noClients, "--listen", "0.0.0.0:0", "--admin", ""}, "everybody may come in"},
		{[]string{"edge", "--listen", "0.0.0.0:0", "--admin", ""}, "edge.listen is 0.0.0.0:0"},
		{[]string{"edge", "--listen", "127.0.0.1:0", "--admin", "", "--http", "0.0.0.0:0"}, "edge.http is 0.0.0.0:0"},
		{[]string{"edge", "--listen", "127.0.0.1:0", "--admin", "", "--cloud", "gpu1.invalid:7600"}, "edge.cloud is gpu1.invalid:7600 on another machine"},
	} {
		code, _, errs := outrider(t, "", c.args...)
		if code != exitUsage || !strings.Contains(errs, c.want) || !strings.Contains(errs, "--insecure") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d %s", c.args, code, errs)
		}
	}
	v, err := startServer(t.Context(), s.dir, "cloud", "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0", "--insecure")
	if err != nil {
		t.Fatal(err)
	}
	v.stop()
	for addr, out := range map[string]bool{"127.0.0.1:1": false, "localhost:1": false, "[::1]:1": false, "unix:/run/x": false, "dns:///localhost:1": false,
		"gpu1:1": true, "10.0.0.1:1": true, "dns:///gpu1:1": true, "dns://8.8.8.8/gpu1:1": true, "localhost.example.org:1": true} {
		if reachesOut(addr) != out {
			t.Errorf("%s: %v", addr, !out)
		}
	}
}

func TestAccessSettings(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ text, want string }{
		{"cloud:\n  tls: {cert: x}\n", "FILE:2: cloud.tls needs cert and key"},
		{"edge:\n  tls: {key: x}\n", "FILE:2: edge.tls needs cert and key"},
		{"cloud:\n  tls: {client_ca: x}\n", "FILE:2: cloud.tls.client_ca without cloud.tls.cert"},
		{"cloud:\n  tls: {cert: a, key: b, crl: x}\n", "FILE:2: cloud.tls.crl without"},
		{"cloud:\n  tenants:\n    a: {sessions: -1}\n", "FILE:3: cloud.tenants: a has a bound below 0"},
		{"cloud:\n  tenants:\n    a/b: {sessions: 1}\n", `FILE:3: cloud.tenants: "a/b" cannot be`},
		{"cloud:\n  tenants:\n    a: {tokens: 1}\n", "FILE:3: there is no setting cloud.tenants[a].tokens"},
	} {
		file := writeFile(t, dir, "c.yaml", c.text)
		code, _, errs := outrider(t, "", "config", "--config", file)
		if got := strings.ReplaceAll(errs, file, "FILE"); code != exitUsage || !strings.HasPrefix(got, "outrider: "+c.want) {
			t.Errorf("code %d: %s", code, got)
		}
	}
}

func TestCertsErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list"}, exitError, "outrider certs init"},
		{[]string{"edge", "laptop"}, exitError, "outrider certs init"},
		{[]string{"edge"}, exitUsage, "takes 1 arguments"},
		{[]string{"server", "x", "--days", "0"}, exitUsage, "--days"},
		{[]string{"show", "nothing"}, exitError, "outrider certs init"},
	} {
		code, _, errs := outrider(t, "", append([]string{"certs", "--dir", dir}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d %s", c.args, code, errs)
		}
	}
	certs(t, dir, "init")
	certs(t, dir, "edge", "acme/laptop", "--days", "10")
	if out := certs(t, dir, "show", "acme/laptop"); !strings.Contains(out, "tenant       acme") || !strings.Contains(out, "9 days") {
		t.Error(out)
	}
	if code, _, errs := outrider(t, "", "certs", "--dir", dir, "edge", "laptop"); code == 0 || !strings.Contains(errs, "acme/laptop") {
		t.Errorf("an edge's name without a tenant: %s", errs)
	}
}
